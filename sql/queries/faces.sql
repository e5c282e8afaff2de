-- people --
-- Users and their names, without those who are deleted, and those who were forgotten and have no known face since:
-- what was recognised before says nothing of them, however late it is written.
SELECT u.user_id, u.username FROM users u
WHERE u.user_id = ANY($1::bigint[]) AND u.account_status <> 'DELETED' AND (
    NOT EXISTS (SELECT FROM enrolments e WHERE e.user_id = u.user_id AND e.embedding IS NULL)
    OR EXISTS (SELECT FROM read_model_known_faces k WHERE k.user_id = u.user_id)
)

-- match --
-- The nearest ($2) known faces of each vector, nearest first, and the version of the known faces that this statement
-- sees: one snapshot, one round trip. 1: no face was ever known.
SELECT version, face, user_id, username, distance FROM nearest_known_faces($1::text[], $2)
ORDER BY face, distance, user_id

-- recheck_media --
-- Media ($1, $2) whose faces were compared with a version ($3) of the known faces, where one that has changed since may
-- concern them: it is at most $4 from one of theirs, or they ($5) were taken for its user ($6). Of many changes, or without
-- our table of faces, whatever they are: while many are enrolled, media must not go round for every one of them.
INSERT INTO face_rechecks AS t (post_id, media_id, version)
SELECT DISTINCT r.post_id::text, r.media_id::text, since.version
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (post_id, media_id, known)
CROSS JOIN LATERAL (
    SELECT max(version) AS version, count(*) AS changes FROM known_face_changes WHERE version > r.known
) AS since
WHERE since.changes > 100
    OR since.changes > 0 AND NOT EXISTS (SELECT FROM read_model_face_search f WHERE f.media_id = r.media_id)
    OR EXISTS (
        SELECT FROM known_face_changes c
        JOIN read_model_face_search f ON f.media_id = r.media_id
        JOIN read_model_known_faces k ON k.user_id = c.user_id AND k.is_active
        WHERE c.version > r.known
            AND k.face_embedding <=> f.face_embedding <= $4
    )
    OR EXISTS (
        SELECT FROM known_face_changes c
        JOIN unnest($5::bigint[], $6::bigint[]) AS said (media_id, user_id) ON said.user_id = c.user_id
        WHERE c.version > r.known AND said.media_id = r.media_id
    )
ORDER BY 1, 2 -- two writers never wait for each other
ON CONFLICT (post_id, media_id) DO UPDATE SET version = excluded.version, leased_until = '-infinity'
WHERE excluded.version > t.version

-- recheck_awaited --
-- Media ($1, $2) that waited for the backend's rows: in the transaction that ends the wait, after which nothing would
-- come back to them. Compared again whatever has changed.
INSERT INTO face_rechecks AS t (post_id, media_id, version)
SELECT DISTINCT r.post_id::text, r.media_id::text, r.known + 1
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (post_id, media_id, known)
ORDER BY 1, 2
ON CONFLICT (post_id, media_id) DO UPDATE SET version = excluded.version, leased_until = '-infinity'
WHERE excluded.version > t.version

-- claim_change --
-- A known face whose stored faces are to be looked for; whoever dies in it loses nothing.
UPDATE known_face_changes SET leased_until = now() + $1::interval
WHERE user_id = (
    SELECT user_id FROM known_face_changes
    WHERE pending AND leased_until <= now() ORDER BY leased_until, version LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING user_id, version

-- recheck_user --
-- The stored faces that a change of user $1 may concern: those that are said to be theirs, and those at most $2 from
-- the face they have now, among the nearest $3. How many of these there are ($3: perhaps not all), and media entered.
WITH near AS MATERIALIZED (
    SELECT post_id, media_id, distance FROM (
        SELECT f.post_id, f.media_id,
            f.face_embedding <=> (SELECT face_embedding FROM read_model_known_faces WHERE user_id = $1 AND is_active) AS distance
        FROM read_model_face_search f
        WHERE EXISTS (SELECT FROM read_model_known_faces WHERE user_id = $1 AND is_active)
        ORDER BY f.face_embedding <=> (
            SELECT face_embedding FROM read_model_known_faces WHERE user_id = $1 AND is_active
        )
        LIMIT $3
    ) AS nearest
    WHERE distance <= $2
), concerned AS (
    SELECT post_id, media_id FROM near
    UNION
    SELECT post_id, media_id FROM read_model_face_search WHERE identified_user_id = $1 OR suggested_user_id = $1
), entered AS (
    INSERT INTO face_rechecks AS t (post_id, media_id, version)
    SELECT post_id::text, media_id::text, $4 FROM concerned ORDER BY 1, 2
    ON CONFLICT (post_id, media_id) DO UPDATE SET version = excluded.version, leased_until = '-infinity'
    WHERE excluded.version > t.version
    RETURNING 1
)
SELECT (SELECT count(*) FROM near) AS near, (SELECT count(*) FROM entered) AS entered

-- looked_for --
UPDATE known_face_changes SET pending = false WHERE user_id = $1 AND version = $2

-- claim_rechecks --
UPDATE face_rechecks r SET leased_until = now() + $2::interval
FROM (
    SELECT post_id, media_id FROM face_rechecks
    WHERE leased_until <= now() ORDER BY leased_until, since LIMIT $1 FOR UPDATE SKIP LOCKED
) AS due
WHERE r.post_id = due.post_id AND r.media_id = due.media_id
RETURNING r.post_id, r.media_id, r.version

-- told_rechecks --
DELETE FROM face_rechecks r
USING unnest($1::text[], $2::text[], $3::bigint[]) AS done (post_id, media_id, version)
WHERE r.post_id = done.post_id AND r.media_id = done.media_id AND r.version = done.version

-- corrections --
-- What is still to be done: known faces whose stored faces are to be looked for, media to be compared again, and since.
SELECT (SELECT count(*) FROM known_face_changes WHERE pending) AS changes,
    (SELECT count(*) FROM face_rechecks) AS media,
    least(
        (SELECT min(changed_at) FROM known_face_changes WHERE pending), (SELECT min(since) FROM face_rechecks)
    ) AS since,
    (SELECT count(*) FROM enrolments WHERE NOT written AND embedding IS NOT NULL) AS awaiting

-- picture --
-- What a user was enrolled with last; no vector: they were forgotten.
SELECT clock, sha256, model, embedding FROM enrolments WHERE user_id = $1

-- enrol --
-- The newest picture counts. How many rows changed: none where this one, or a newer one, is known.
WITH put AS (
    INSERT INTO enrolments AS t (user_id, clock, sha256, model, url, embedding, quality, enrolled_at)
    VALUES ($1, $2, $3, $4, $5, $6::text::vector, $7, to_timestamp($8::float / 1000))
    ON CONFLICT (user_id) DO UPDATE
    SET clock = excluded.clock, sha256 = excluded.sha256, model = excluded.model, url = excluded.url,
        embedding = excluded.embedding, quality = excluded.quality, enrolled_at = excluded.enrolled_at, written = false
    WHERE excluded.clock > t.clock OR (excluded.clock = t.clock AND excluded.model <> t.model)
    RETURNING 1
)
SELECT count(*) FROM put

-- repeat_picture --
-- The same picture was sent again: it is the newest one still, and rows that were lost are written again.
UPDATE enrolments e SET clock = greatest(clock, $2), written = EXISTS (
        SELECT FROM read_model_known_faces k JOIN user_face_embeddings f USING (user_id) WHERE k.user_id = e.user_id
    )
WHERE user_id = $1 AND sha256 = $3 AND model = $4

-- lock_enrolments --
-- Who writes the tables of faces, and who forgets users, take turns: else what one has read the other has deleted.
SELECT FROM enrolments WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR UPDATE

-- enrolments_awaiting --
-- Users whose enrolled face is not in the tables yet, and whom the backend has by now.
SELECT e.user_id FROM enrolments e
JOIN users u ON u.user_id = e.user_id AND u.account_status <> 'DELETED'
WHERE NOT e.written AND e.embedding IS NOT NULL
ORDER BY e.user_id LIMIT $1

-- write_user_face_embeddings --
WITH kept AS (
    INSERT INTO user_face_embeddings AS t (user_id, embedding, source_image_url, is_active, enrolled_at, revision)
    SELECT e.user_id, e.embedding, left(e.url, 255), true, e.enrolled_at, e.clock
    FROM enrolments e
    JOIN users u ON u.user_id = e.user_id AND u.account_status <> 'DELETED'
    WHERE e.user_id = ANY($1::bigint[]) AND NOT e.written AND e.embedding IS NOT NULL
    ORDER BY e.user_id
    ON CONFLICT (user_id) DO UPDATE
    SET embedding = excluded.embedding, source_image_url = excluded.source_image_url, is_active = true,
        enrolled_at = excluded.enrolled_at, updated_at = now(), revision = excluded.revision
    WHERE t.revision < excluded.revision
        OR (t.revision = excluded.revision AND t.embedding IS DISTINCT FROM excluded.embedding)
    RETURNING 1
)
SELECT count(*) FROM kept

-- write_read_model_known_faces --
WITH kept AS (
    INSERT INTO read_model_known_faces AS t (
        user_id, username, department, profile_pic_url, face_embedding, enrolled_at, is_active, revision
    )
    SELECT e.user_id, left(u.username, 50), left(u.department, 100), left(e.url, 255), e.embedding, e.enrolled_at,
        u.account_status = 'ACTIVE', e.clock
    FROM enrolments e
    JOIN users u ON u.user_id = e.user_id AND u.account_status <> 'DELETED'
    WHERE e.user_id = ANY($1::bigint[]) AND NOT e.written AND e.embedding IS NOT NULL
    ORDER BY e.user_id
    ON CONFLICT (user_id) DO UPDATE
    SET username = excluded.username, department = excluded.department, profile_pic_url = excluded.profile_pic_url,
        face_embedding = excluded.face_embedding, enrolled_at = excluded.enrolled_at, is_active = excluded.is_active,
        revision = excluded.revision
    WHERE t.revision < excluded.revision
        OR (t.revision = excluded.revision AND t.face_embedding IS DISTINCT FROM excluded.face_embedding)
    RETURNING 1
)
SELECT count(*) FROM kept

-- enrolments_written --
UPDATE enrolments e SET written = true, suspended = u.account_status <> 'ACTIVE'
FROM users u
WHERE u.user_id = e.user_id AND e.user_id = ANY($1::bigint[]) AND u.account_status <> 'DELETED'
    AND NOT e.written AND e.embedding IS NOT NULL

-- suspend_known_faces --
-- A face is in use while its user's account is active and, where the AI table is ours ($2), that does not deny it.
WITH off AS (
    UPDATE read_model_known_faces k SET is_active = false
    FROM users u
    WHERE k.user_id = ANY($1::bigint[]) AND u.user_id = k.user_id AND k.is_active AND (
        u.account_status <> 'ACTIVE'
        OR ($2 AND EXISTS (SELECT FROM user_face_embeddings f WHERE f.user_id = k.user_id AND NOT f.is_active))
    )
    RETURNING k.user_id
), noted AS (
    UPDATE enrolments e SET suspended = true FROM off WHERE e.user_id = off.user_id RETURNING 1
)
SELECT count(*) FROM off

-- resume_known_faces --
-- What we took out of use; what others did is theirs to undo.
WITH back AS (
    UPDATE enrolments e SET suspended = false
    FROM users u
    WHERE e.user_id = ANY($1::bigint[]) AND e.suspended AND u.user_id = e.user_id AND u.account_status = 'ACTIVE'
        AND NOT ($2 AND EXISTS (SELECT FROM user_face_embeddings f WHERE f.user_id = e.user_id AND NOT f.is_active))
    RETURNING e.user_id
), resumed AS (
    UPDATE read_model_known_faces k SET is_active = true FROM back WHERE k.user_id = back.user_id RETURNING 1
)
SELECT count(*) FROM resumed

-- copy_known_faces --
WITH changed AS (
    UPDATE read_model_known_faces k SET username = left(u.username, 50), department = left(u.department, 100)
    FROM users u
    WHERE k.user_id = ANY($1::bigint[]) AND u.user_id = k.user_id
        AND (k.username, k.department) IS DISTINCT FROM (left(u.username, 50)::varchar, left(u.department, 100)::varchar)
    RETURNING 1
)
SELECT count(*) FROM changed

-- renamed --
-- The posts among some ($1) whose rows in our tables ($2) have another name of a user than the backend.
SELECT m.post_id FROM read_model_media_search m
CROSS JOIN LATERAL unnest(m.detected_user_ids, m.detected_usernames) AS d (id, name)
JOIN users u ON u.user_id = d.id
WHERE 'read_model_media_search' = ANY($2::text[]) AND m.post_id = ANY($1::bigint[]) AND m.revision > 0
    AND m.detected_usernames IS NOT NULL AND u.username IS DISTINCT FROM d.name
UNION
SELECT f.post_id FROM read_model_face_search f
JOIN users u ON u.user_id = f.identified_user_id
WHERE 'read_model_face_search' = ANY($2::text[]) AND f.post_id = ANY($1::bigint[]) AND f.revision > 0
    AND left(u.username, 50)::varchar IS DISTINCT FROM f.identified_username

-- rename_read_model_media_search --
WITH changed AS (
    UPDATE read_model_media_search t SET detected_usernames = n.names, identified_usernames = n.names, updated_at = now()
    FROM (
        SELECT m.media_id, array_agg(coalesce(u.username, d.name) ORDER BY d.n) AS names
        FROM read_model_media_search m
        CROSS JOIN LATERAL unnest(m.detected_user_ids, m.detected_usernames) WITH ORDINALITY AS d (id, name, n)
        LEFT JOIN users u ON u.user_id = d.id
        WHERE m.post_id = ANY($1::bigint[]) AND m.revision > 0 AND m.detected_usernames IS NOT NULL
        GROUP BY m.media_id
    ) AS n
    WHERE t.media_id = n.media_id AND t.detected_usernames IS DISTINCT FROM n.names
    RETURNING 1
)
SELECT count(*) FROM changed

-- rename_read_model_face_search --
WITH changed AS (
    UPDATE read_model_face_search f SET identified_username = left(u.username, 50)
    FROM users u
    WHERE u.user_id = f.identified_user_id AND f.post_id = ANY($1::bigint[]) AND f.revision > 0
        AND left(u.username, 50)::varchar IS DISTINCT FROM f.identified_username
    RETURNING 1
)
SELECT count(*) FROM changed
