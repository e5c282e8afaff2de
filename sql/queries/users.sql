-- write_users --
-- A user's row is a function of the backend's rows and of whether a face of theirs is known. Revision 1: it is ours.
WITH kept AS (
    INSERT INTO read_model_user_search AS t (
        user_id, username, email, full_name, department, designation, bio, total_posts, face_enrolled, joined_at,
        account_status, revision
    )
    SELECT u.user_id, u.username, u.email, u.full_name, u.department, u.designation, u.bio,
        (SELECT count(*) FROM posts p WHERE p.user_id = u.user_id AND p.status = 'PUBLISHED'),
        EXISTS (SELECT FROM user_face_embeddings f WHERE f.user_id = u.user_id AND f.is_active)
            OR EXISTS (SELECT FROM read_model_known_faces f WHERE f.user_id = u.user_id AND f.is_active),
        u.created_at, u.account_status, 1
    FROM users u
    WHERE u.user_id = ANY($1::bigint[]) AND u.account_status <> 'DELETED'
    ORDER BY u.user_id -- two writers never wait for each other
    ON CONFLICT (user_id) DO UPDATE
    SET username = excluded.username, email = excluded.email, full_name = excluded.full_name,
        department = excluded.department, designation = excluded.designation, bio = excluded.bio,
        total_posts = excluded.total_posts, face_enrolled = excluded.face_enrolled, joined_at = excluded.joined_at,
        account_status = excluded.account_status, revision = excluded.revision, updated_at = now()
    WHERE (t.username, t.email, t.full_name, t.department, t.designation, t.bio, t.total_posts, t.face_enrolled,
            t.joined_at, t.account_status)
        IS DISTINCT FROM (excluded.username, excluded.email, excluded.full_name, excluded.department,
            excluded.designation, excluded.bio, excluded.total_posts, excluded.face_enrolled, excluded.joined_at,
            excluded.account_status)
    RETURNING 1
)
SELECT count(*) FROM kept

-- users_after --
SELECT user_id FROM read_model_user_search WHERE user_id > $1 ORDER BY user_id LIMIT $2

-- gone_users --
SELECT wanted.user_id
FROM unnest($1::bigint[]) AS wanted (user_id)
LEFT JOIN users u ON u.user_id = wanted.user_id
WHERE u.user_id IS NULL OR u.account_status = 'DELETED'

-- posts_of_users --
-- With the greatest revision that was written of each.
SELECT post_id, max(revision) AS revision
FROM (
    SELECT post_id, revision FROM read_model_post_search WHERE author_id = ANY($1::bigint[])
    UNION ALL
    SELECT post_id, revision FROM read_model_media_search WHERE uploader_id = ANY($1::bigint[])
) AS rows
GROUP BY post_id

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
    SET identified_user_id = NULL, identified_username = NULL, match_confidence = NULL,
        identification_status = 'UNKNOWN'
    WHERE identified_user_id = ANY($1::bigint[])
    RETURNING 1
)
SELECT count(*) FROM changed

-- leave_media_detected_faces --
-- Where the user's row is gone, the foreign keys have taken the user out already.
WITH changed AS (
    UPDATE media_detected_faces
    SET identified_user_id = CASE WHEN identified_user_id <> ALL ($1::bigint[]) THEN identified_user_id END,
        suggested_user_id = CASE WHEN suggested_user_id <> ALL ($1::bigint[]) THEN suggested_user_id END,
        confidence_score = NULL, status = 'UNIDENTIFIED'
    WHERE identified_user_id = ANY($1::bigint[]) OR suggested_user_id = ANY($1::bigint[])
    RETURNING 1
)
SELECT count(*) FROM changed
