-- remember --
INSERT INTO es_hints AS t (table_name, pk, bulk, wanted, again, next_look)
VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 second')
ON CONFLICT (table_name, pk, bulk) DO UPDATE
SET wanted = excluded.wanted, again = t.again OR excluded.again, since = now(), looks = 0,
    next_look = excluded.next_look

-- due --
-- Locked until they are entered into the outbox.
SELECT table_name, pk, bulk, wanted, again, looks FROM es_hints
WHERE next_look <= now() AND table_name = ANY($2::text[]) ORDER BY next_look LIMIT $1 FOR UPDATE SKIP LOCKED

-- forget --
DELETE FROM es_hints h
USING unnest($1::text[], $2::bigint[], $3::boolean[]) AS gone (table_name, pk, bulk)
WHERE h.table_name = gone.table_name AND h.pk = gone.pk AND h.bulk = gone.bulk

-- look_later --
UPDATE es_hints h
SET looks = h.looks + 1, next_look = h.since + later.seconds * interval '1 second'
FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::float[]) AS later (table_name, pk, bulk, seconds)
WHERE h.table_name = later.table_name AND h.pk = later.pk AND h.bulk = later.bulk

-- report --
UPDATE es_hints h
SET looks = h.looks + 1, next_look = now() + $4 * interval '1 second'
FROM unnest($1::text[], $2::bigint[], $3::boolean[]) AS odd (table_name, pk, bulk)
WHERE h.table_name = odd.table_name AND h.pk = odd.pk AND h.bulk = odd.bulk

-- postpone --
UPDATE es_hints h
SET next_look = now() + $4 * interval '1 second'
FROM unnest($1::text[], $2::bigint[], $3::boolean[]) AS busy (table_name, pk, bulk)
WHERE h.table_name = busy.table_name AND h.pk = busy.pk AND h.bulk = busy.bulk

-- postpone_first --
-- The first that it is time for.
UPDATE es_hints h
SET next_look = now() + $1 * interval '1 second'
FROM (
    SELECT table_name, pk, bulk FROM es_hints
    WHERE next_look <= now() ORDER BY next_look LIMIT 1 FOR UPDATE SKIP LOCKED
) AS first
WHERE h.table_name = first.table_name AND h.pk = first.pk AND h.bulk = first.bulk

-- media_of_posts --
SELECT post_id, media_id FROM read_model_media_search WHERE post_id = ANY($1::bigint[])

-- of_post --
-- What the backend told of a post and its media, and what is not so.
SELECT table_name, pk, bulk, wanted, since, looks >= $3 AS reported FROM es_hints
WHERE (pk = $1 AND (bulk OR table_name = 'read_model_post_search'))
    OR (pk = ANY($2::bigint[]) AND NOT bulk
        AND table_name IN ('read_model_media_search', 'read_model_recommendations_knn'))
ORDER BY since
