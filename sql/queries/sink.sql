-- lock_posts --
-- One writer per post at a time, so that a late writer of a post that another worker has just deleted sees it.
-- Sorted, so that two writers never wait for each other. 1802725735 is only this lock's own number.
SELECT pg_advisory_xact_lock(1802725735, number)
FROM (SELECT DISTINCT hashint8(post_id) AS number FROM unnest($1::bigint[]) AS post_id ORDER BY number) AS numbers

-- posts --
-- The backend's posts and their users; deleted is the revision that ended the post for us. That of a deleted user is
-- gone whatever is said of it, and one that ended because the backend had it no longer lives when it is there again.
SELECT
    wanted.post_id, p.user_id, p.title, p.body, p.status, p.visibility, p.created_at::text AS created_at,
    u.username, u.full_name, u.profile_picture_url, u.department, u.designation,
    CASE
        WHEN u.account_status = 'DELETED' THEN 9223372036854775807
        WHEN u.user_id IS NULL OR d.swept IS DISTINCT FROM d.revision THEN d.revision
    END AS deleted
FROM unnest($1::bigint[]) AS wanted (post_id)
LEFT JOIN posts p ON p.post_id = wanted.post_id
LEFT JOIN users u ON u.user_id = p.user_id
LEFT JOIN deleted_posts d ON d.post_id = wanted.post_id

-- media --
-- Of the backend; deleted is the revision in which the media left the post that it is asked for, as with posts.
SELECT
    wanted.post_id AS wanted_by, wanted.media_id, m.post_id, m.media_type, m.media_url, m.thumbnail_url, m.position, m.width, m.height,
    m.created_at::text AS created_at,
    CASE
        WHEN m.post_id IS DISTINCT FROM wanted.post_id OR d.swept IS DISTINCT FROM d.revision THEN d.revision
    END AS deleted
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (post_id, media_id)
LEFT JOIN post_media m ON m.media_id = wanted.media_id
LEFT JOIN deleted_media d ON d.post_id = wanted.post_id AND d.media_id = wanted.media_id

-- bury_post --
INSERT INTO deleted_posts AS t (post_id, revision)
SELECT * FROM unnest($1::bigint[], $2::bigint[])
ON CONFLICT (post_id) DO UPDATE SET revision = excluded.revision, deleted_at = now()
WHERE excluded.revision > t.revision

-- bury_media --
INSERT INTO deleted_media AS t (post_id, media_id, revision)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
ON CONFLICT (post_id, media_id) DO UPDATE SET revision = excluded.revision, deleted_at = now()
WHERE excluded.revision > t.revision

-- forget_post --
-- A deleted post awaits nothing.
DELETE FROM awaiting a
USING unnest($1::bigint[], $2::bigint[]) AS gone (post_id, revision)
WHERE a.post_id = gone.post_id AND a.revision <= gone.revision

-- forget_media --
DELETE FROM awaiting a
USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS gone (post_id, media_id, revision)
WHERE a.post_id = gone.post_id AND a.media_id = gone.media_id AND a.revision <= gone.revision

-- tell_media --
-- What a media row says about its whole post follows the row of the post; $2: whether that row is ours to write.
UPDATE read_model_media_search m
SET post_all_tags = post.tags, post_all_scenes = post.scenes, post_total_images = post.images, updated_at = now()
FROM (
    SELECT post_id, coalesce(p.all_ai_tags, '{}') AS tags, p.all_ai_scenes AS scenes,
        coalesce(p.total_images, 0) AS images
    FROM unnest($1::bigint[]) AS wanted (post_id)
    LEFT JOIN (SELECT * FROM read_model_post_search WHERE revision > 0 OR NOT $2) AS p USING (post_id)
) AS post
WHERE m.post_id = post.post_id AND m.revision > 0
    AND (m.post_all_tags, m.post_all_scenes, m.post_total_images)
        IS DISTINCT FROM (post.tags, post.scenes, post.images)

-- tell_post --
-- Who is on the media of a post.
UPDATE read_model_post_search p
SET all_detected_user_ids = found.ids, all_detected_usernames = found.names, updated_at = now()
FROM people_of_posts($1::bigint[]) AS found
WHERE p.post_id = found.post_id AND p.revision > 0
    AND (p.all_detected_user_ids, p.all_detected_usernames) IS DISTINCT FROM (found.ids, found.names)

-- await --
-- A newer change begins anew; what has waited $8 seconds is given back, once.
WITH put AS (
    INSERT INTO awaiting AS t (table_name, pk, post_id, media_id, awaited, revision, change)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bytea[])
    ON CONFLICT (table_name, pk, post_id) DO UPDATE
    SET awaited = excluded.awaited, revision = excluded.revision, change = excluded.change, refused = NULL,
        attempts = CASE WHEN excluded.revision = t.revision THEN t.attempts ELSE 0 END,
        next_attempt = CASE
            WHEN excluded.revision = t.revision AND t.refused IS NULL THEN t.next_attempt
            ELSE excluded.next_attempt
        END,
        reported_at = coalesce(
            t.reported_at, CASE WHEN t.since <= now() - $8::float * interval '1 second' THEN now() END
        )
    WHERE excluded.revision >= t.revision
    RETURNING table_name, pk, post_id, awaited, since, reported_at
)
SELECT table_name, pk, post_id, awaited, since FROM put WHERE reported_at = now()

-- settle --
DELETE FROM awaiting a
USING unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS done (table_name, pk, post_id, revision)
WHERE a.table_name = done.table_name AND a.pk = done.pk AND a.post_id = done.post_id AND a.revision <= done.revision

-- claim_awaiting --
-- The next attempt is set before this one, so whoever dies in it loses nothing. Each wait is a quarter of the time so
-- far, up to six hours: what comes late is found soon for how late it is, and what never comes costs next to nothing.
UPDATE awaiting a
SET attempts = a.attempts + 1,
    next_attempt = now() + least(21600, 1.25 ^ least(a.attempts + 1, 50)) * interval '1 second'
FROM (
    SELECT table_name, pk, post_id FROM awaiting
    WHERE next_attempt <= now() AND table_name = ANY($2::text[])
    ORDER BY next_attempt LIMIT $1 FOR UPDATE SKIP LOCKED
) AS due
WHERE a.table_name = due.table_name AND a.pk = due.pk AND a.post_id = due.post_id
RETURNING a.table_name, a.pk, a.post_id, a.revision, a.change

-- refuse_awaiting --
-- Kept to be seen; only a newer change of the row starts it again.
UPDATE awaiting a
SET refused = why.reason, next_attempt = 'infinity'
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])
    AS why (table_name, pk, post_id, revision, reason)
WHERE a.table_name = why.table_name AND a.pk = why.pk AND a.post_id = why.post_id AND a.revision = why.revision

-- awaiting --
SELECT table_name, pk, media_id, awaited, revision, since, next_attempt, attempts, reported_at, refused
FROM awaiting
WHERE post_id = $1
ORDER BY table_name, pk
