-- lease --
-- Short, and it holds no lock while the documents travel: writers never wait for Elasticsearch.
UPDATE es_outbox o
SET leased_until = now() + $3::interval, attempts = o.attempts + 1
FROM (
    SELECT table_name, pk FROM es_outbox
    WHERE leased_until <= now() AND table_name = ANY($2::text[])
    ORDER BY version LIMIT $1 FOR UPDATE SKIP LOCKED
) AS due
WHERE o.table_name = due.table_name AND o.pk = due.pk
RETURNING o.table_name, o.pk, o.version, o.attempts

-- done --
-- An entry that a writer holds is about to get another version: skipped, not waited for.
DELETE FROM es_outbox o
USING (
    SELECT e.table_name, e.pk
    FROM es_outbox e
    JOIN unnest($1::text[], $2::bigint[], $3::bigint[]) AS sent (table_name, pk, version)
        ON e.table_name = sent.table_name AND e.pk = sent.pk AND e.version = sent.version
    FOR UPDATE OF e SKIP LOCKED
) AS done
WHERE o.table_name = done.table_name AND o.pk = done.pk

-- again --
UPDATE es_outbox o
SET leased_until = now() + later.wait * interval '1 second', last_error = later.error
FROM (
    SELECT e.table_name, e.pk, wait, error
    FROM es_outbox e
    JOIN unnest($1::text[], $2::bigint[], $3::bigint[], $4::float[], $5::text[])
        AS failed (table_name, pk, version, wait, error)
        ON e.table_name = failed.table_name AND e.pk = failed.pk AND e.version = failed.version
    FOR UPDATE OF e SKIP LOCKED
) AS later
WHERE o.table_name = later.table_name AND o.pk = later.pk

-- hint --
-- As if the rows had just changed: read again, sent again, and deleted there where they are gone here.
INSERT INTO es_outbox AS o (table_name, pk, version)
SELECT $1, pk, nextval('es_version') FROM (SELECT DISTINCT unnest($2::bigint[]) AS pk) AS hinted ORDER BY pk
ON CONFLICT (table_name, pk) DO UPDATE
SET version = nextval('es_version'), leased_until = '-infinity', attempts = 0, last_error = NULL

-- media_of_post --
SELECT media_id FROM read_model_media_search WHERE post_id = $1

-- wake --
SELECT pg_notify('es_outbox', '')
