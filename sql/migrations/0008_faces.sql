-- Who somebody is on an image: the pictures that users were enrolled with, the versions of the known faces, and what is
-- to be compared with them again.

-- The newest good picture of each user, by the entry id of its request; the tables of faces are made of it and of the
-- backend's users. One without a vector: the user was forgotten then, nothing that was asked for before counts.
CREATE TABLE IF NOT EXISTS enrolments (
    user_id BIGINT PRIMARY KEY,
    clock BIGINT NOT NULL,                     -- entry id: milliseconds * 2^20 + sequence
    sha256 BYTEA,                              -- of the picture
    model TEXT,
    url TEXT,
    embedding VECTOR(1024),
    quality FLOAT,
    enrolled_at TIMESTAMPTZ NOT NULL,
    written BOOLEAN NOT NULL DEFAULT false,    -- it is in the tables; else the backend's user is awaited
    suspended BOOLEAN NOT NULL DEFAULT false   -- we took the face out of use, and take it back
);
CREATE INDEX IF NOT EXISTS enrolments_awaiting ON enrolments (user_id) WHERE NOT written AND embedding IS NOT NULL;

-- The last change of each known face, whoever made it. Versions grow in the order of the commits: they are drawn under
-- a lock that is held until the commit. They are microseconds since the epoch, so that they grow on after a backup was
-- restored: the state remembers versions too.
CREATE TABLE IF NOT EXISTS known_face_changes (
    user_id BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    pending BOOLEAN NOT NULL DEFAULT true,     -- the stored faces that it concerns have not been looked for yet
    leased_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS known_face_changes_version ON known_face_changes (version);
CREATE INDEX IF NOT EXISTS known_face_changes_pending ON known_face_changes (version) WHERE pending;

-- SECURITY DEFINER: the backend's role needs no right on our tables to write its known faces.
-- 1802725736 is only this lock's own number.
CREATE OR REPLACE FUNCTION known_faces_changed(users BIGINT[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    drawn BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock(1802725736);
    SELECT greatest(coalesce(max(version), 0) + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    INTO drawn FROM known_face_changes;
    INSERT INTO known_face_changes AS t (user_id, version)
    SELECT DISTINCT changed, drawn FROM unnest(users) AS changed WHERE changed IS NOT NULL
    ON CONFLICT (user_id) DO UPDATE
    SET version = excluded.version, pending = true, leased_until = '-infinity', changed_at = now();
END
$$;

CREATE OR REPLACE FUNCTION known_face_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    was BOOLEAN := TG_OP <> 'INSERT' AND OLD.is_active IS TRUE;
    becomes BOOLEAN := TG_OP <> 'DELETE' AND NEW.is_active IS TRUE;
BEGIN
    IF TG_OP = 'UPDATE' AND was AND becomes AND OLD.user_id = NEW.user_id AND OLD.face_embedding = NEW.face_embedding THEN
        RETURN NULL;
    END IF;
    IF was OR becomes THEN
        PERFORM known_faces_changed(ARRAY[CASE WHEN was THEN OLD.user_id END, CASE WHEN becomes THEN NEW.user_id END]);
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER known_faces AFTER INSERT OR UPDATE OR DELETE ON read_model_known_faces
FOR EACH ROW EXECUTE FUNCTION known_face_changed();

-- TRUNCATE fires no trigger of rows: while they are still there, all of them are entered.
CREATE OR REPLACE FUNCTION known_faces_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM known_faces_changed(array_agg(user_id)) FROM read_model_known_faces WHERE is_active HAVING count(*) > 0;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER known_faces_truncate BEFORE TRUNCATE ON read_model_known_faces
FOR EACH STATEMENT EXECUTE FUNCTION known_faces_truncated();

-- Known faces that were there before the trigger: what is stored was not compared with them.
SELECT known_faces_changed(array_agg(user_id)) FROM read_model_known_faces WHERE is_active HAVING count(*) > 0;

-- Media whose faces are to be compared again, until the state has been told.
CREATE TABLE IF NOT EXISTS face_rechecks (
    post_id TEXT NOT NULL,                     -- of any form: the state has posts that can have no row
    media_id TEXT NOT NULL,
    version BIGINT NOT NULL,                   -- of the known faces that they are to be compared with, or a later one
    leased_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (post_id, media_id)
);
CREATE INDEX IF NOT EXISTS face_rechecks_due ON face_rechecks (leased_until, since);

-- Only who is in use is looked for. A denser graph than pgvector's default (16, 64): of 100,000 faces in clusters that one
-- misses the nearest of 14 in 1,000 (make bench-faces).
DROP INDEX IF EXISTS read_model_known_faces_hnsw;
CREATE INDEX IF NOT EXISTS read_model_known_faces_active ON read_model_known_faces
USING hnsw (face_embedding vector_cosine_ops) WITH (m = 24, ef_construction = 128) WHERE is_active;

-- In neither document: who a face may be, so that a face is found by that too.
ALTER TABLE read_model_face_search ADD COLUMN IF NOT EXISTS suggested_user_id BIGINT;
CREATE INDEX IF NOT EXISTS idx_rfs_suggested_user ON read_model_face_search (suggested_user_id)
WHERE suggested_user_id IS NOT NULL;

-- The functions below name columns of the backend's that an old schema may lack: that is told when they are used.
SET LOCAL check_function_bodies = off;

-- Who is on the media of some posts, each once: by the position of the media and of the face. NULL while no media of a
-- post was searched for faces. A function, because what writes it and what verifies it must say the same.
CREATE OR REPLACE FUNCTION people_of_posts(posts BIGINT[])
RETURNS TABLE (post_id BIGINT, ids BIGINT[], names TEXT[])
LANGUAGE sql STABLE AS $$
    SELECT wanted.post_id, found.ids, found.names
    FROM (SELECT DISTINCT unnest(posts) AS post_id) AS wanted
    CROSS JOIN LATERAL (
        SELECT CASE WHEN count(*) > 0 THEN
                coalesce(array_agg(each.id ORDER BY each.place) FILTER (WHERE each.id IS NOT NULL), '{}')
            END AS ids, CASE WHEN count(*) > 0 THEN
                coalesce(array_agg(each.name ORDER BY each.place) FILTER (WHERE each.id IS NOT NULL), '{}')
            END AS names
        FROM (
            SELECT d.id, min(d.name) AS name, min(m.place || d.n) AS place
            FROM (
                SELECT detected_user_ids AS ids, detected_usernames AS names,
                    ARRAY[coalesce(media_position, 2147483647), media_id] AS place
                FROM read_model_media_search r
                WHERE r.post_id = wanted.post_id AND r.revision > 0 AND detected_user_ids IS NOT NULL
            ) AS m
            LEFT JOIN LATERAL unnest(m.ids, m.names) WITH ORDINALITY AS d (id, name, n) ON true
            GROUP BY d.id
        ) AS each
    ) AS found
$$;

-- The nearest known faces in use of each vector, by index from 0, with the version of the known faces that is seen. A
-- function, because of its setting: the planner does not count what it costs to fetch vectors from where long values lie,
-- and reads a table of some thousand faces whole for each lookup, a hundred times as long as by the index.
CREATE OR REPLACE FUNCTION nearest_known_faces(vectors TEXT[], nearest INTEGER)
RETURNS TABLE (version BIGINT, face BIGINT, user_id BIGINT, username TEXT, distance FLOAT)
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
    SELECT seen.version, f.face - 1, u.user_id, n.username, n.distance
    FROM (SELECT coalesce(max(c.version), 1) AS version FROM known_face_changes c) AS seen
    LEFT JOIN unnest(vectors) WITH ORDINALITY AS f (vector, face) ON true
    LEFT JOIN LATERAL (
        SELECT k.user_id, k.username, k.face_embedding <=> f.vector::vector AS distance
        FROM read_model_known_faces k
        WHERE k.is_active AND f.vector IS NOT NULL
        ORDER BY k.face_embedding <=> f.vector::vector
        LIMIT nearest
    ) AS n ON true
    LEFT JOIN users u ON u.user_id = n.user_id AND u.account_status <> 'DELETED'
$$;
