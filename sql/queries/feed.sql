-- write_feed --
-- The items of some media, a function of the rows as they are: docs/feed.md says which, and how they are scored.
-- An item that is right is not touched; revision 1: it is ours.
WITH media AS (
    SELECT m.media_id, m.post_id, m.media_url, m.ai_caption, m.uploader_id, m.uploader_username, m.created_at,
        p.created_at AS posted_at,
        p.visibility = 'PUBLIC' AND p.status = 'PUBLISHED' AS shown,
        ARRAY(SELECT DISTINCT unnest(m.ai_tags)) AS tags,
        extract(epoch FROM m.created_at - TIMESTAMPTZ '2025-01-01T00:00:00Z') / 86400 AS freshness,
        0.25 * floor(log(2, 1 + greatest(0, coalesce(m.reaction_count, 0)::numeric
            + 2 * coalesce(m.comment_count, 0)::numeric + 3 * coalesce(m.save_count, 0)::numeric
            + (coalesce(m.view_count, 0) / 20)::numeric))) AS engagement
    FROM read_model_media_search m
    JOIN posts p ON p.post_id = m.post_id
    WHERE m.media_id = ANY($1::bigint[]) AND m.is_safe AND m.created_at > now() - interval '7 days'
        AND isfinite(m.created_at) -- what is always the newest has no place among others
), readers AS (
    -- Ids are given in the order of joining.
    SELECT user_id FROM users WHERE account_status = 'ACTIVE' ORDER BY user_id DESC LIMIT $2
), targets AS (
    SELECT media_id, user_id FROM media, readers WHERE shown
    UNION
    SELECT media_id, uploader_id FROM media
), posted AS (
    -- Since when somebody has posted a tag, as far as their last 50 posts go.
    SELECT target.user_id, has.tag, min(p.created_at) AS since
    FROM (SELECT DISTINCT user_id FROM targets) AS target
    CROSS JOIN LATERAL (
        SELECT created_at, all_ai_tags FROM read_model_post_search
        WHERE author_id = target.user_id ORDER BY created_at DESC LIMIT 50
    ) AS p
    CROSS JOIN unnest(p.all_ai_tags) AS has (tag)
    GROUP BY target.user_id, has.tag
), affinities AS (
    SELECT media_id, posted.user_id, count(*)::numeric / max(cardinality(tags)) AS affinity
    FROM media
    CROSS JOIN unnest(tags) AS has (tag)
    JOIN posted ON posted.tag = has.tag AND posted.since < posted_at
    GROUP BY media_id, posted.user_id
), wanted AS (
    SELECT target.user_id || ':' || m.media_id AS feed_item_id, target.user_id AS target_user_id, m.media_id, m.post_id,
        m.media_url, m.ai_caption AS caption, m.uploader_id, m.uploader_username,
        round(m.freshness + coalesce(a.affinity, 0) + m.engagement, 4)::float AS combined_score,
        m.created_at, m.created_at + interval '7 days' AS expires_at
    FROM targets target
    JOIN media m USING (media_id)
    LEFT JOIN affinities a USING (media_id, user_id)
), present AS (
    SELECT * FROM read_model_feed_personalized WHERE media_id = ANY($1::bigint[])
), gone AS (
    DELETE FROM read_model_feed_personalized t
    USING present
    WHERE t.id = present.id AND present.feed_item_id NOT IN (SELECT feed_item_id FROM wanted)
    RETURNING 1
), kept AS (
    INSERT INTO read_model_feed_personalized AS t (
        feed_item_id, target_user_id, media_id, post_id, media_url, caption, uploader_id, uploader_username,
        combined_score, created_at, expires_at, revision
    )
    SELECT w.*, 1
    FROM wanted w
    LEFT JOIN present f USING (feed_item_id)
    WHERE (w.target_user_id, w.media_id, w.post_id, w.media_url, w.caption, w.uploader_id, w.uploader_username,
            w.combined_score, w.created_at, w.expires_at)
        IS DISTINCT FROM (f.target_user_id, f.media_id, f.post_id, f.media_url, f.caption, f.uploader_id,
            f.uploader_username, f.combined_score, f.created_at, f.expires_at)
    ON CONFLICT (feed_item_id) DO UPDATE
    SET target_user_id = excluded.target_user_id, media_id = excluded.media_id, post_id = excluded.post_id,
        media_url = excluded.media_url, caption = excluded.caption, uploader_id = excluded.uploader_id,
        uploader_username = excluded.uploader_username, combined_score = excluded.combined_score,
        created_at = excluded.created_at, expires_at = excluded.expires_at, revision = excluded.revision
    RETURNING 1
)
SELECT count(*) FROM (SELECT * FROM kept UNION ALL SELECT * FROM gone) AS changed

-- live_media --
-- What can have items, in the order of an index; $1 and $2 are the last ones seen. The time as text: Python has not all
-- of them.
SELECT created_at::text AS created_at, media_id, post_id FROM read_model_media_search
WHERE created_at > now() - interval '7 days' AND (created_at, media_id) > ($1::text::timestamptz, $2::bigint)
ORDER BY read_model_media_search.created_at, media_id
LIMIT $3

-- expire --
WITH gone AS (
    DELETE FROM read_model_feed_personalized
    WHERE id IN (
        SELECT id FROM read_model_feed_personalized
        WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM gone

-- live_media_of_posts --
SELECT media_id FROM read_model_media_search
WHERE post_id = ANY($1::bigint[]) AND created_at > now() - interval '7 days'
