-- lock_known_faces --
-- The lock that versions are drawn under (migration 8).
SELECT pg_advisory_xact_lock(1802725736)

-- forget_enrolments --
-- Nothing that was asked for until now counts any more, and the vector goes. How many there were.
WITH had AS (
    SELECT user_id FROM enrolments WHERE user_id = ANY($1::bigint[]) AND embedding IS NOT NULL FOR UPDATE
), put AS (
    INSERT INTO enrolments AS t (user_id, clock, enrolled_at, written)
    SELECT user_id, (((extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1) << 20) - 1, now(), true
    FROM unnest($1::bigint[]) AS user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE
    SET clock = greatest(t.clock, excluded.clock), sha256 = NULL, model = NULL, url = NULL, embedding = NULL,
        quality = NULL, written = true, suspended = false
)
SELECT count(*) FROM had

-- media_with_users --
-- Whose rows say that somebody is, or may be, on them.
SELECT post_id, media_id FROM read_model_media_search
WHERE detected_user_ids && $1::bigint[] OR identified_user_ids && $1::bigint[]
UNION
SELECT post_id, media_id FROM read_model_face_search
WHERE identified_user_id = ANY($1::bigint[]) OR suggested_user_id = ANY($1::bigint[])
UNION
SELECT i.post_id, i.media_id FROM media_detected_faces f
JOIN media_ai_insights i ON i.media_id = f.media_id
WHERE f.identified_user_id = ANY($1::bigint[]) OR f.suggested_user_id = ANY($1::bigint[])

-- awaiting_with_users --
-- What waits to be rows and says so ($1: how that stands in its bytes). Most says of nobody that he is on an image.
SELECT table_name, pk, post_id, media_id, change FROM awaiting a
WHERE position('"matches":['::bytea IN a.change) > 0 AND EXISTS (SELECT FROM unnest($1::bytea[]) AS said WHERE position(said IN a.change) > 0)
FOR UPDATE

-- rewrite_awaiting --
UPDATE awaiting a SET change = r.change
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS r (table_name, pk, post_id, change)
WHERE a.table_name = r.table_name AND a.pk = r.pk AND a.post_id = r.post_id

-- draw_version --
-- Of the known faces, for users who have none now; it is seen by the next statement.
SELECT known_faces_changed($1::bigint[])

-- recheck_forgotten --
-- Media ($2, $3) that said that users ($1) are on them, so that the state learns it too. How many were entered.
WITH entered AS (
    INSERT INTO face_rechecks AS t (post_id, media_id, version)
    SELECT DISTINCT m.post_id, m.media_id, (SELECT max(version) FROM known_face_changes WHERE user_id = ANY($1::bigint[]))
    FROM unnest($2::text[], $3::text[]) AS m (post_id, media_id) ORDER BY 1, 2
    ON CONFLICT (post_id, media_id) DO UPDATE SET version = excluded.version, leased_until = '-infinity'
    WHERE excluded.version > t.version
    RETURNING 1
)
SELECT count(*) FROM entered

-- traces --
-- Where it is kept that user $1 has a face or is on an image, and what is still to be done about it; of a user whom the
-- backend does not have any more, also their own rows. $2: how a match stands in bytes. Place, how many, the first few.
WITH gone AS (SELECT NOT EXISTS (SELECT FROM users WHERE user_id = $1 AND account_status <> 'DELETED') AS is)
SELECT place, count(*) AS count, (array_agg(example ORDER BY example))[:5] AS examples
FROM (
    SELECT 'enrolments' AS place, 'a picture' AS example FROM enrolments WHERE user_id = $1 AND embedding IS NOT NULL
    UNION ALL
    SELECT 'user_face_embeddings', 'user ' || user_id FROM user_face_embeddings WHERE user_id = $1
    UNION ALL
    SELECT 'read_model_known_faces', 'user ' || user_id FROM read_model_known_faces WHERE user_id = $1
    UNION ALL
    SELECT 'read_model_face_search', 'face ' || face_id FROM read_model_face_search
    WHERE identified_user_id = $1 OR suggested_user_id = $1
    UNION ALL
    SELECT 'media_detected_faces', 'media ' || media_id FROM media_detected_faces
    WHERE identified_user_id = $1 OR suggested_user_id = $1
    UNION ALL
    SELECT 'read_model_media_search', 'media ' || media_id FROM read_model_media_search
    WHERE detected_user_ids && ARRAY[$1::bigint] OR identified_user_ids && ARRAY[$1::bigint]
    UNION ALL
    SELECT 'read_model_post_search', 'post ' || post_id FROM read_model_post_search
    WHERE all_detected_user_ids && ARRAY[$1::bigint]
    UNION ALL
    SELECT 'read_model_user_search', 'face_enrolled' FROM read_model_user_search WHERE user_id = $1 AND face_enrolled
    UNION ALL
    SELECT 'awaiting', 'post ' || post_id || ' ' || table_name || '/' || pk FROM awaiting WHERE position($2::bytea IN change) > 0
    UNION ALL
    SELECT 'known_face_changes', 'the stored faces are still to be looked for' FROM known_face_changes
    WHERE user_id = $1 AND pending
    UNION ALL
    SELECT 'face_rechecks', 'post ' || r.post_id || ' media ' || r.media_id || ', the state is still to be told'
    FROM known_face_changes c JOIN face_rechecks r ON r.version = c.version
    WHERE c.user_id = $1
    UNION ALL
    SELECT 'read_model_user_search', 'user ' || user_id FROM read_model_user_search, gone WHERE gone.is AND user_id = $1
    UNION ALL
    SELECT 'read_model_post_search', 'post ' || post_id FROM read_model_post_search, gone
    WHERE gone.is AND author_id = $1
    UNION ALL
    SELECT 'read_model_media_search', 'media ' || media_id FROM read_model_media_search, gone
    WHERE gone.is AND uploader_id = $1
    UNION ALL
    SELECT 'read_model_face_search', 'face ' || face_id FROM read_model_face_search, gone
    WHERE gone.is AND uploader_id = $1
    UNION ALL
    SELECT 'read_model_recommendations_knn', 'media ' || r.media_id
    FROM read_model_recommendations_knn r JOIN posts p ON p.post_id = r.post_id, gone
    WHERE gone.is AND p.user_id = $1
    UNION ALL
    SELECT 'media_ai_insights', 'media ' || i.media_id FROM media_ai_insights i JOIN posts p ON p.post_id = i.post_id, gone
    WHERE gone.is AND p.user_id = $1
    UNION ALL
    SELECT 'read_model_feed_personalized', feed_item_id FROM read_model_feed_personalized, gone
    WHERE gone.is AND $1 IN (target_user_id, uploader_id)
) AS found
GROUP BY place
ORDER BY place

-- known_of_user --
-- What is known of a user's face: the enrolment (all null: none), and where they are on images.
SELECT e.clock, e.url, e.model, e.quality, e.enrolled_at, e.written, e.suspended, e.embedding IS NOT NULL AS kept,
    k.is_active AS in_use, f.is_active AS ai_table, f.user_id IS NOT NULL AS in_ai_table,
    (SELECT count(*) FROM read_model_face_search WHERE identified_user_id = $1) AS identified_faces,
    (SELECT count(DISTINCT media_id) FROM read_model_face_search WHERE identified_user_id = $1) AS identified_media,
    (SELECT count(*) FROM read_model_face_search WHERE suggested_user_id = $1) AS suggested_faces,
    (SELECT count(DISTINCT media_id) FROM read_model_face_search WHERE suggested_user_id = $1) AS suggested_media
FROM (SELECT $1::bigint AS user_id) AS asked
LEFT JOIN enrolments e USING (user_id)
LEFT JOIN read_model_known_faces k USING (user_id)
LEFT JOIN user_face_embeddings f USING (user_id)

-- stored_face --
-- A face by its id: its vector, and who it is said to be.
SELECT face_embedding AS vector, media_id, post_id, bbox, identification_status, identified_user_id, suggested_user_id
FROM read_model_face_search WHERE face_id = $1
UNION ALL
SELECT f.embedding, f.media_id, i.post_id, f.bbox, f.status, f.identified_user_id, f.suggested_user_id
FROM media_detected_faces f
LEFT JOIN media_ai_insights i ON i.media_id = f.media_id
WHERE f.face_id = $1
LIMIT 1

-- nearest_of_sample --
-- Of the same $1 stored faces each time: what they are said to be, and how far the nearest known face in use is.
SELECT f.identification_status AS status, n.user_id, n.distance
FROM (SELECT id FROM read_model_face_search ORDER BY hashint8(id), id LIMIT $1) AS sample
JOIN read_model_face_search f USING (id)
LEFT JOIN LATERAL (
    SELECT k.user_id, k.face_embedding <=> f.face_embedding AS distance
    FROM read_model_known_faces k
    WHERE k.is_active
    ORDER BY k.face_embedding <=> f.face_embedding
    LIMIT 1
) AS n ON true
