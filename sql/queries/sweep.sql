-- note_gone_of_posts --
-- What the rows of some posts ($1) in our tables ($2) name and the backend has no longer: since now, unless that was
-- known. A media goes with its post.
WITH media AS (
    SELECT media_id, post_id FROM read_model_media_search
    WHERE 'read_model_media_search' = ANY($2::text[]) AND post_id = ANY($1::bigint[]) AND revision > 0
    UNION
    SELECT media_id, post_id FROM media_ai_insights
    WHERE 'media_ai_insights' = ANY($2::text[]) AND post_id = ANY($1::bigint[]) AND revision > 0
    UNION
    SELECT media_id, post_id FROM read_model_face_search
    WHERE 'read_model_face_search' = ANY($2::text[]) AND post_id = ANY($1::bigint[]) AND revision > 0
    UNION
    SELECT media_id, post_id FROM read_model_recommendations_knn
    WHERE 'read_model_recommendations_knn' = ANY($2::text[]) AND post_id = ANY($1::bigint[]) AND revision > 0
    UNION
    SELECT media_id, post_id FROM read_model_feed_personalized
    WHERE 'read_model_feed_personalized' = ANY($2::text[]) AND NOT 'read_model_media_search' = ANY($2::text[])
        AND post_id = ANY($1::bigint[])
), written AS (
    SELECT post_id FROM media
    UNION
    SELECT post_id FROM read_model_post_search
    WHERE 'read_model_post_search' = ANY($2::text[]) AND post_id = ANY($1::bigint[]) AND revision > 0
), named AS (
    SELECT unnest(author_id || coalesce(all_detected_user_ids, '{}')) AS user_id FROM read_model_post_search
    WHERE 'read_model_post_search' = ANY($2::text[]) AND post_id = ANY($1::bigint[])
    UNION
    SELECT unnest(uploader_id || coalesce(detected_user_ids, '{}') || coalesce(identified_user_ids, '{}'))
    FROM read_model_media_search
    WHERE 'read_model_media_search' = ANY($2::text[]) AND post_id = ANY($1::bigint[])
    UNION
    SELECT unnest(ARRAY[uploader_id, identified_user_id]) FROM read_model_face_search
    WHERE 'read_model_face_search' = ANY($2::text[]) AND post_id = ANY($1::bigint[])
    UNION
    SELECT unnest(ARRAY[f.identified_user_id, f.suggested_user_id])
    FROM media_ai_insights i
    JOIN media_detected_faces f ON f.media_id = i.media_id
    WHERE 'media_detected_faces' = ANY($2::text[]) AND i.post_id = ANY($1::bigint[])
), gone AS (
    SELECT 'post' AS what, post_id AS id FROM written
    WHERE NOT EXISTS (SELECT FROM posts p WHERE p.post_id = written.post_id)
    UNION
    SELECT 'media', media_id FROM media
    WHERE NOT EXISTS (SELECT FROM post_media m WHERE m.media_id = media.media_id)
        AND EXISTS (SELECT FROM posts p WHERE p.post_id = media.post_id)
    UNION
    SELECT 'user', user_id FROM named
    WHERE user_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM users u WHERE u.user_id = named.user_id AND u.account_status <> 'DELETED')
)
INSERT INTO backend_gone (what, id)
SELECT what, id FROM gone ORDER BY what, id -- two writers never wait for each other
ON CONFLICT DO NOTHING

-- note_gone_users --
-- The same for users ($1) who have rows of their own in our tables ($2).
WITH named AS (
    SELECT user_id FROM read_model_user_search
    WHERE 'read_model_user_search' = ANY($2::text[]) AND user_id = ANY($1::bigint[])
    UNION
    SELECT user_id FROM read_model_known_faces
    WHERE 'read_model_known_faces' = ANY($2::text[]) AND user_id = ANY($1::bigint[])
    UNION
    SELECT user_id FROM user_face_embeddings
    WHERE 'user_face_embeddings' = ANY($2::text[]) AND user_id = ANY($1::bigint[])
)
INSERT INTO backend_gone (what, id)
SELECT 'user', user_id FROM named
WHERE NOT EXISTS (SELECT FROM users u WHERE u.user_id = named.user_id AND u.account_status <> 'DELETED')
ORDER BY user_id
ON CONFLICT DO NOTHING

-- forget_returned --
DELETE FROM backend_gone g
WHERE CASE what
    WHEN 'post' THEN EXISTS (SELECT FROM posts p WHERE p.post_id = g.id)
    WHEN 'media' THEN EXISTS (SELECT FROM post_media m WHERE m.media_id = g.id)
    ELSE EXISTS (SELECT FROM users u WHERE u.user_id = g.id AND u.account_status <> 'DELETED')
END

-- gone_for_good --
SELECT id FROM backend_gone
WHERE what = $1 AND since <= now() - $2::float * interval '1 second'
ORDER BY since, id LIMIT $3

-- forget_gone --
DELETE FROM backend_gone WHERE what = $1 AND id = ANY($2::bigint[])

-- gone_posts --
SELECT post_id FROM unnest($1::bigint[]) AS wanted (post_id)
WHERE NOT EXISTS (SELECT FROM posts p WHERE p.post_id = wanted.post_id)

-- gone_media --
SELECT media_id FROM unnest($1::bigint[]) AS wanted (media_id)
WHERE NOT EXISTS (SELECT FROM post_media m WHERE m.media_id = wanted.media_id)

-- swept_post --
-- It was not told to be deleted: should the backend have it again, the rows may come back.
UPDATE deleted_posts t SET swept = t.revision
FROM unnest($1::bigint[], $2::bigint[]) AS gone (post_id, revision)
WHERE t.post_id = gone.post_id AND t.revision = gone.revision

-- swept_media --
UPDATE deleted_media t SET swept = t.revision
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS gone (post_id, media_id, revision)
WHERE t.post_id = gone.post_id AND t.media_id = gone.media_id AND t.revision = gone.revision

-- faces_of_nobody --
-- Where a user's row is gone the foreign keys take the user out, and nothing else.
WITH changed AS (
    UPDATE media_detected_faces SET confidence_score = NULL, status = 'UNIDENTIFIED'
    WHERE identified_user_id IS NULL AND suggested_user_id IS NULL AND status <> 'UNIDENTIFIED'
    RETURNING 1
)
SELECT count(*) FROM changed
