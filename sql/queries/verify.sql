-- awaiting --
SELECT table_name, pk, awaited, revision, refused, since, next_attempt
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
