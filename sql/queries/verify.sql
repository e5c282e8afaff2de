-- awaiting --
SELECT table_name, pk, post_id, awaited, revision, refused, since, next_attempt
FROM awaiting
WHERE post_id = ANY($1::bigint[])

-- outbox --
SELECT pk, attempts, last_error, created_at
FROM es_outbox
WHERE table_name = $1 AND pk = ANY($2::bigint[]) AND target = 'live'

-- told --
-- Our media rows of posts that say of their post what its row does not; $2: whether that row is ours to write.
SELECT m.post_id, m.media_id, jsonb_agg(jsonb_build_array(name, expected, found)) AS differing
FROM read_model_media_search m
LEFT JOIN read_model_post_search p ON p.post_id = m.post_id AND (p.revision > 0 OR NOT $2)
CROSS JOIN LATERAL (VALUES
    ('post_all_tags', to_jsonb(coalesce(p.all_ai_tags, '{}')), to_jsonb(m.post_all_tags)),
    ('post_all_scenes', to_jsonb(p.all_ai_scenes), to_jsonb(m.post_all_scenes)),
    ('post_total_images', to_jsonb(coalesce(p.total_images, 0)), to_jsonb(m.post_total_images))
) AS c (name, expected, found)
WHERE m.post_id = ANY($1::bigint[]) AND m.revision > 0 AND expected IS DISTINCT FROM found
GROUP BY m.post_id, m.media_id
ORDER BY m.media_id

-- shown --
-- Our rows of posts that say of who is on their media what the rows of these do not.
SELECT post_id, jsonb_agg(jsonb_build_array(name, expected, found)) AS differing
FROM people_of_posts($1::bigint[]) AS shown
JOIN read_model_post_search p USING (post_id)
CROSS JOIN LATERAL (VALUES
    ('all_detected_user_ids', to_jsonb(shown.ids), to_jsonb(p.all_detected_user_ids)),
    ('all_detected_usernames', to_jsonb(shown.names), to_jsonb(p.all_detected_usernames))
) AS c (name, expected, found)
WHERE p.revision > 0 AND expected IS DISTINCT FROM found
GROUP BY post_id

-- users_after --
-- Users who have a row or should have one.
SELECT user_id FROM (
    (SELECT user_id FROM users WHERE user_id > $1 AND account_status <> 'DELETED' ORDER BY user_id LIMIT $2)
    UNION
    (SELECT user_id FROM read_model_user_search WHERE user_id > $1 ORDER BY user_id LIMIT $2)
) AS found
ORDER BY user_id LIMIT $2

-- users --
-- Rows of users beside the backend's, which are cut to our columns' width: whether there is one on either side, and
-- [column, expected, found] for what differs.
SELECT wanted.user_id, u.user_id IS NOT NULL AS expected, t.user_id IS NOT NULL AS found, (
    SELECT coalesce(jsonb_agg(jsonb_build_array(name, should, has)), '[]')
    FROM (VALUES
        ('username', to_jsonb(left(u.username, 50)), to_jsonb(t.username)),
        ('email', to_jsonb(left(u.email, 100)), to_jsonb(t.email)),
        ('full_name', to_jsonb(left(u.full_name, 100)), to_jsonb(t.full_name)),
        ('department', to_jsonb(left(u.department, 100)), to_jsonb(t.department)),
        ('designation', to_jsonb(left(u.designation, 100)), to_jsonb(t.designation)),
        ('bio', to_jsonb(u.bio), to_jsonb(t.bio)),
        ('total_posts', to_jsonb((
            SELECT count(*) FROM posts p WHERE p.user_id = u.user_id AND p.status = 'PUBLISHED'
        )), to_jsonb(t.total_posts)),
        ('face_enrolled', to_jsonb(coalesce(
            (SELECT f.is_active IS TRUE FROM read_model_known_faces f WHERE f.user_id = u.user_id),
            EXISTS (SELECT FROM user_face_embeddings f WHERE f.user_id = u.user_id AND f.is_active)
        )), to_jsonb(t.face_enrolled)),
        ('joined_at', to_jsonb(u.created_at::timestamptz), to_jsonb(t.joined_at)),
        ('account_status', to_jsonb(left(u.account_status, 20)), to_jsonb(t.account_status))
    ) AS c (name, should, has)
    WHERE should IS DISTINCT FROM has
) AS differing
FROM unnest($1::bigint[]) AS wanted (user_id)
LEFT JOIN users u ON u.user_id = wanted.user_id AND u.account_status <> 'DELETED'
LEFT JOIN read_model_user_search t ON t.user_id = wanted.user_id

-- items_after --
-- Of the feeds; $3: of one post, or NULL.
SELECT id FROM read_model_feed_personalized
WHERE id > $1 AND ($3::bigint IS NULL OR post_id = $3) ORDER BY id LIMIT $2

-- items --
-- Why an item should not be there (docs/feed.md), and what it says of its media that its row does not. One whose time
-- is over is given a minute to be removed.
SELECT f.id, f.feed_item_id, f.post_id, f.media_id, CASE
        WHEN f.expires_at < now() - interval '1 minute' THEN 'its time is over'
        WHEN p.post_id IS NULL THEN 'the post is gone'
        WHEN m.media_id IS NULL THEN 'its media has no row'
        WHEN NOT m.is_safe THEN 'its media is not safe'
        WHEN f.target_user_id = p.user_id THEN NULL
        WHEN (p.visibility, p.status) IS DISTINCT FROM ('PUBLIC', 'PUBLISHED') THEN 'the post is for its author only'
        WHEN r.account_status IS DISTINCT FROM 'ACTIVE' THEN 'its reader is not active'
    END AS wrong, (
        SELECT coalesce(jsonb_agg(jsonb_build_array(name, should, has)), '[]')
        FROM (VALUES
            ('post_id', to_jsonb(m.post_id), to_jsonb(f.post_id)),
            ('media_url', to_jsonb(m.media_url), to_jsonb(f.media_url)),
            ('caption', to_jsonb(m.ai_caption), to_jsonb(f.caption)),
            ('uploader_id', to_jsonb(m.uploader_id), to_jsonb(f.uploader_id)),
            ('uploader_username', to_jsonb(m.uploader_username), to_jsonb(f.uploader_username)),
            ('created_at', to_jsonb(m.created_at), to_jsonb(f.created_at))
        ) AS c (name, should, has)
        WHERE should IS DISTINCT FROM has
    ) AS differing
FROM read_model_feed_personalized f
LEFT JOIN posts p ON p.post_id = f.post_id
LEFT JOIN read_model_media_search m ON m.media_id = f.media_id
LEFT JOIN users r ON r.user_id = f.target_user_id
WHERE f.id = ANY($1::bigint[])
