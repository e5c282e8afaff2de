-- write_users --
-- A user's row is a function of the backend's rows and of whether a face of theirs is known. Revision 1: it is ours.
-- A text that is wider than our column is cut to it; a row that is right is not even locked.
WITH wanted AS (
    SELECT u.user_id, u.username::varchar(50) AS username, u.email::varchar(100) AS email,
        u.full_name::varchar(100) AS full_name, u.department::varchar(100) AS department,
        u.designation::varchar(100) AS designation, u.bio,
        (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id AND p.status = 'PUBLISHED') AS total_posts,
        coalesce(
            (SELECT f.is_active IS TRUE FROM read_model_known_faces f WHERE f.user_id = u.user_id),
            EXISTS (SELECT FROM user_face_embeddings f WHERE f.user_id = u.user_id AND f.is_active)
        ) AS face_enrolled,
        u.created_at AS joined_at, u.account_status::varchar(20) AS account_status
    FROM users u
    WHERE u.user_id = ANY($1::bigint[]) AND u.account_status <> 'DELETED'
), kept AS (
    INSERT INTO read_model_user_search AS t (
        user_id, username, email, full_name, department, designation, bio, total_posts, face_enrolled, joined_at,
        account_status, revision
    )
    SELECT w.*, 1
    FROM wanted w
    LEFT JOIN read_model_user_search f USING (user_id)
    WHERE f.user_id IS NULL
        OR (w.username, w.email, w.full_name, w.department, w.designation, w.bio, w.total_posts, w.face_enrolled,
            w.joined_at, w.account_status)
        IS DISTINCT FROM (f.username, f.email, f.full_name, f.department, f.designation, f.bio, f.total_posts,
            f.face_enrolled, f.joined_at, f.account_status)
    ORDER BY user_id -- two writers never wait for each other
    ON CONFLICT (user_id) DO UPDATE
    SET username = excluded.username, email = excluded.email, full_name = excluded.full_name,
        department = excluded.department, designation = excluded.designation, bio = excluded.bio,
        total_posts = excluded.total_posts, face_enrolled = excluded.face_enrolled, joined_at = excluded.joined_at,
        account_status = excluded.account_status, revision = excluded.revision, updated_at = now()
    RETURNING 1
)
SELECT count(*) FROM kept

-- users_after --
-- The next users who have a row of their own in our tables ($3), or should have; $1 is the last one seen.
SELECT user_id FROM (
    (SELECT user_id FROM users
    WHERE 'read_model_user_search' = ANY($3::text[]) AND user_id > $1 AND account_status <> 'DELETED'
    ORDER BY user_id LIMIT $2)
    UNION
    (SELECT user_id FROM read_model_user_search
    WHERE 'read_model_user_search' = ANY($3::text[]) AND user_id > $1 ORDER BY user_id LIMIT $2)
    UNION
    (SELECT user_id FROM read_model_known_faces
    WHERE 'read_model_known_faces' = ANY($3::text[]) AND user_id > $1 ORDER BY user_id LIMIT $2)
    UNION
    (SELECT user_id FROM user_face_embeddings
    WHERE 'user_face_embeddings' = ANY($3::text[]) AND user_id > $1 ORDER BY user_id LIMIT $2)
) AS found
ORDER BY user_id LIMIT $2

-- gone_users --
SELECT wanted.user_id
FROM unnest($1::bigint[]) AS wanted (user_id)
LEFT JOIN users u ON u.user_id = wanted.user_id
WHERE u.user_id IS NULL OR u.account_status = 'DELETED'

-- posts_of_users --
-- That are still theirs, where the backend has them.
SELECT post_id FROM (
    SELECT post_id FROM read_model_post_search WHERE author_id = ANY($1::bigint[])
    UNION
    SELECT post_id FROM read_model_media_search WHERE uploader_id = ANY($1::bigint[])
    UNION
    SELECT post_id FROM posts WHERE user_id = ANY($1::bigint[])
) AS theirs
WHERE NOT EXISTS (SELECT FROM posts p WHERE p.post_id = theirs.post_id AND p.user_id <> ALL ($1::bigint[]))

-- posts_with_users --
-- Whose rows, or what waits to be rows, say that somebody is on an image. $2: how that stands in the bytes of a change.
SELECT post_id FROM read_model_post_search WHERE all_detected_user_ids && $1::bigint[]
UNION
SELECT post_id FROM read_model_media_search WHERE detected_user_ids && $1::bigint[]
UNION
SELECT post_id FROM read_model_media_search WHERE identified_user_ids && $1::bigint[]
UNION
SELECT post_id FROM read_model_face_search
WHERE identified_user_id = ANY($1::bigint[]) OR suggested_user_id = ANY($1::bigint[])
UNION
SELECT i.post_id FROM media_detected_faces f
JOIN media_ai_insights i ON i.media_id = f.media_id
WHERE f.identified_user_id = ANY($1::bigint[]) OR f.suggested_user_id = ANY($1::bigint[])
UNION
SELECT a.post_id FROM awaiting a
WHERE position('"matches":['::bytea IN a.change) > 0 AND EXISTS (SELECT FROM unnest($2::bytea[]) AS said WHERE position(said IN a.change) > 0)

-- leave_read_model_user_search --
WITH gone AS (DELETE FROM read_model_user_search WHERE user_id = ANY($1::bigint[]) RETURNING 1)
SELECT count(*) FROM gone

-- leave_read_model_known_faces --
WITH gone AS (DELETE FROM read_model_known_faces WHERE user_id = ANY($1::bigint[]) RETURNING 1)
SELECT count(*) FROM gone

-- leave_user_face_embeddings --
WITH gone AS (DELETE FROM user_face_embeddings WHERE user_id = ANY($1::bigint[]) RETURNING 1)
SELECT count(*) FROM gone

-- leave_read_model_feed_personalized --
WITH gone AS (DELETE FROM read_model_feed_personalized WHERE target_user_id = ANY($1::bigint[]) RETURNING 1)
SELECT count(*) FROM gone

-- leave_read_model_face_search --
-- Their face on other people's images is a face again, nobody's.
WITH changed AS (
    UPDATE read_model_face_search
    SET identified_user_id = NULL, identified_username = NULL, suggested_user_id = NULL, match_confidence = NULL,
        identification_status = 'UNKNOWN'
    WHERE identified_user_id = ANY($1::bigint[]) OR suggested_user_id = ANY($1::bigint[])
    RETURNING 1
)
SELECT count(*) FROM changed

-- leave_read_model_post_search --
-- Ids and names stand beside each other.
WITH changed AS (
    UPDATE read_model_post_search t
    SET (all_detected_user_ids, all_detected_usernames) = (
        SELECT coalesce(array_agg(d.id ORDER BY d.n), '{}'),
            CASE WHEN t.all_detected_usernames IS NOT NULL THEN
                coalesce(array_agg(d.name ORDER BY d.n) FILTER (WHERE d.n <= cardinality(t.all_detected_usernames)), '{}')
            END
        FROM unnest(t.all_detected_user_ids, t.all_detected_usernames) WITH ORDINALITY AS d (id, name, n)
        WHERE (d.id = ANY($1::bigint[])) IS NOT TRUE
    ), updated_at = now()
    WHERE all_detected_user_ids && $1::bigint[]
    RETURNING 1
)
SELECT count(*) FROM changed

-- leave_read_model_media_search --
-- The same for the two ways of saying it; a face that was theirs is one more of nobody.
WITH changed AS (
    UPDATE read_model_media_search t
    SET (detected_user_ids, detected_usernames) = (
        SELECT CASE WHEN t.detected_user_ids IS NOT NULL THEN coalesce(array_agg(d.id ORDER BY d.n), '{}') END,
            CASE WHEN t.detected_usernames IS NOT NULL THEN
                coalesce(array_agg(d.name ORDER BY d.n) FILTER (WHERE d.n <= cardinality(t.detected_usernames)), '{}')
            END
        FROM unnest(t.detected_user_ids, t.detected_usernames) WITH ORDINALITY AS d (id, name, n)
        WHERE (d.id = ANY($1::bigint[])) IS NOT TRUE
    ), (identified_user_ids, identified_usernames, identified_confidences) = (
        SELECT CASE WHEN t.identified_user_ids IS NOT NULL THEN coalesce(array_agg(d.id ORDER BY d.n), '{}') END,
            CASE WHEN t.identified_usernames IS NOT NULL THEN
                coalesce(array_agg(d.name ORDER BY d.n) FILTER (WHERE d.n <= cardinality(t.identified_usernames)), '{}')
            END,
            CASE WHEN t.identified_confidences IS NOT NULL THEN
                coalesce(array_agg(d.sure ORDER BY d.n) FILTER (WHERE d.n <= cardinality(t.identified_confidences)), '{}')
            END
        FROM unnest(t.identified_user_ids, t.identified_usernames, t.identified_confidences)
            WITH ORDINALITY AS d (id, name, sure, n)
        WHERE (d.id = ANY($1::bigint[])) IS NOT TRUE
    ), unidentified_face_count = least(t.detected_face_count, coalesce(t.unidentified_face_count, 0) + greatest(
        (SELECT count(*) FROM unnest(t.detected_user_ids) AS id WHERE id = ANY($1::bigint[])),
        (SELECT count(*) FROM unnest(t.identified_user_ids) AS id WHERE id = ANY($1::bigint[]))
    )), updated_at = now()
    WHERE detected_user_ids && $1::bigint[] OR identified_user_ids && $1::bigint[]
    RETURNING 1
)
SELECT count(*) FROM changed

-- leave_media_detected_faces --
WITH changed AS (
    UPDATE media_detected_faces
    SET identified_user_id = CASE WHEN identified_user_id <> ALL ($1::bigint[]) THEN identified_user_id END,
        suggested_user_id = CASE WHEN suggested_user_id <> ALL ($1::bigint[]) THEN suggested_user_id END,
        confidence_score = NULL, status = 'UNIDENTIFIED'
    WHERE identified_user_id = ANY($1::bigint[]) OR suggested_user_id = ANY($1::bigint[])
    RETURNING 1
)
SELECT count(*) FROM changed
