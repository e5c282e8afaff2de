-- The AI tables as their document says, and the other five read models: the columns of both documents in one table
-- each, without foreign keys. Where the backend has made a table from either document, what it lacks is added, and
-- every column that only one document has can be left out.

CREATE TABLE IF NOT EXISTS media_ai_insights (
    media_id BIGINT PRIMARY KEY REFERENCES post_media (media_id) ON DELETE CASCADE,
    post_id BIGINT NOT NULL REFERENCES posts (post_id) ON DELETE CASCADE,
    status VARCHAR(20) NOT NULL DEFAULT 'PROCESSING'
        CHECK (status IN ('PROCESSING', 'COMPLETED', 'UNSAFE', 'FAILED')),
    is_safe BOOLEAN,
    caption TEXT,
    tags TEXT[],
    scenes TEXT[],
    image_embedding VECTOR(512),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
ALTER TABLE media_ai_insights
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0,
    ALTER COLUMN is_safe SET DEFAULT false; -- what nobody has moderated is not safe

CREATE INDEX IF NOT EXISTS idx_mai_post ON media_ai_insights (post_id);
CREATE INDEX IF NOT EXISTS idx_mai_status ON media_ai_insights (status);
CREATE INDEX IF NOT EXISTS idx_mai_safe ON media_ai_insights (is_safe) WHERE is_safe = true;

CREATE TABLE IF NOT EXISTS user_face_embeddings (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL UNIQUE REFERENCES users (user_id) ON DELETE CASCADE,
    embedding VECTOR(1024) NOT NULL,
    source_image_url VARCHAR(255),
    is_active BOOLEAN NOT NULL DEFAULT true,
    enrolled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
ALTER TABLE user_face_embeddings ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

CREATE INDEX IF NOT EXISTS idx_ufe_user ON user_face_embeddings (user_id);
CREATE INDEX IF NOT EXISTS idx_ufe_active ON user_face_embeddings (is_active) WHERE is_active = true;

CREATE TABLE IF NOT EXISTS media_detected_faces (
    id BIGSERIAL PRIMARY KEY,
    media_id BIGINT NOT NULL REFERENCES media_ai_insights (media_id) ON DELETE CASCADE,
    bbox INTEGER[] NOT NULL,
    embedding VECTOR(1024) NOT NULL,
    identified_user_id BIGINT REFERENCES users (user_id) ON DELETE SET NULL,
    suggested_user_id BIGINT REFERENCES users (user_id) ON DELETE SET NULL,
    confidence_score FLOAT,
    status VARCHAR(20) NOT NULL DEFAULT 'UNIDENTIFIED'
        CHECK (status IN ('UNIDENTIFIED', 'SUGGESTED', 'CONFIRMED')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
ALTER TABLE media_detected_faces
    ADD COLUMN IF NOT EXISTS face_id VARCHAR(50), -- null in rows of the backend's own
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

CREATE UNIQUE INDEX IF NOT EXISTS idx_mdf_face ON media_detected_faces (face_id);
CREATE INDEX IF NOT EXISTS idx_mdf_media ON media_detected_faces (media_id);
CREATE INDEX IF NOT EXISTS idx_mdf_identified_user ON media_detected_faces (identified_user_id);
CREATE INDEX IF NOT EXISTS idx_mdf_status ON media_detected_faces (status);

CREATE TABLE IF NOT EXISTS read_model_user_search (user_id BIGINT PRIMARY KEY);
ALTER TABLE read_model_user_search
    ADD COLUMN IF NOT EXISTS username VARCHAR(50) NOT NULL,
    ADD COLUMN IF NOT EXISTS email VARCHAR(100),
    ADD COLUMN IF NOT EXISTS full_name VARCHAR(100),
    ADD COLUMN IF NOT EXISTS department VARCHAR(100),
    ADD COLUMN IF NOT EXISTS designation VARCHAR(100),
    ADD COLUMN IF NOT EXISTS bio TEXT,
    ADD COLUMN IF NOT EXISTS total_posts INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS total_followers INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS total_following INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS face_enrolled BOOLEAN DEFAULT false,
    ADD COLUMN IF NOT EXISTS joined_at TIMESTAMPTZ NOT NULL,
    ADD COLUMN IF NOT EXISTS last_active TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS account_status VARCHAR(20) DEFAULT 'ACTIVE',
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ DEFAULT now(),
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

CREATE INDEX IF NOT EXISTS idx_rus_department ON read_model_user_search (department);

CREATE TABLE IF NOT EXISTS read_model_face_search (
    id BIGSERIAL PRIMARY KEY,
    face_id VARCHAR(50) UNIQUE NOT NULL
);
ALTER TABLE read_model_face_search
    ADD COLUMN IF NOT EXISTS media_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS post_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS bbox INTEGER[],
    ADD COLUMN IF NOT EXISTS confidence FLOAT,
    ADD COLUMN IF NOT EXISTS face_embedding VECTOR(1024) NOT NULL,
    ADD COLUMN IF NOT EXISTS identification_status VARCHAR(20) DEFAULT 'UNKNOWN',
    ADD COLUMN IF NOT EXISTS identified_user_id BIGINT,
    ADD COLUMN IF NOT EXISTS identified_username VARCHAR(50),
    ADD COLUMN IF NOT EXISTS match_confidence FLOAT,
    ADD COLUMN IF NOT EXISTS uploader_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS post_title VARCHAR(200),
    ADD COLUMN IF NOT EXISTS media_caption TEXT,
    ADD COLUMN IF NOT EXISTS media_url VARCHAR(1000),
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ NOT NULL,
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE read_model_face_search ALTER COLUMN confidence DROP NOT NULL;

CREATE INDEX IF NOT EXISTS idx_rfs_identified_user ON read_model_face_search (identified_user_id);
CREATE INDEX IF NOT EXISTS idx_rfs_media ON read_model_face_search (media_id);
CREATE INDEX IF NOT EXISTS idx_rfs_post ON read_model_face_search (post_id);

CREATE TABLE IF NOT EXISTS read_model_recommendations_knn (media_id BIGINT PRIMARY KEY);
ALTER TABLE read_model_recommendations_knn
    ADD COLUMN IF NOT EXISTS image_embedding VECTOR(512) NOT NULL,
    ADD COLUMN IF NOT EXISTS media_url VARCHAR(1000) NOT NULL,
    ADD COLUMN IF NOT EXISTS thumbnail_url VARCHAR(1000),
    ADD COLUMN IF NOT EXISTS post_id BIGINT,
    ADD COLUMN IF NOT EXISTS caption TEXT,
    ADD COLUMN IF NOT EXISTS is_safe BOOLEAN,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ NOT NULL,
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE read_model_recommendations_knn
    ALTER COLUMN post_id DROP NOT NULL,
    ALTER COLUMN is_safe SET DEFAULT false;
UPDATE read_model_recommendations_knn SET is_safe = false WHERE is_safe IS NULL;
ALTER TABLE read_model_recommendations_knn ALTER COLUMN is_safe SET NOT NULL;

CREATE INDEX IF NOT EXISTS idx_rrk_post ON read_model_recommendations_knn (post_id);

CREATE TABLE IF NOT EXISTS read_model_feed_personalized (
    id BIGSERIAL PRIMARY KEY,
    feed_item_id VARCHAR(100) UNIQUE NOT NULL
);
ALTER TABLE read_model_feed_personalized
    ADD COLUMN IF NOT EXISTS target_user_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS media_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS post_id BIGINT, -- in neither document: with it a deleted post is found
    ADD COLUMN IF NOT EXISTS media_url VARCHAR(1000),
    ADD COLUMN IF NOT EXISTS caption TEXT,
    ADD COLUMN IF NOT EXISTS uploader_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS uploader_username VARCHAR(50),
    ADD COLUMN IF NOT EXISTS combined_score FLOAT DEFAULT 0,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ NOT NULL,
    ADD COLUMN IF NOT EXISTS expires_at TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

CREATE INDEX IF NOT EXISTS idx_rfp_target_score ON read_model_feed_personalized (target_user_id, combined_score DESC);
CREATE INDEX IF NOT EXISTS idx_rfp_expires ON read_model_feed_personalized (expires_at);
CREATE INDEX IF NOT EXISTS idx_rfp_media ON read_model_feed_personalized (media_id);
CREATE INDEX IF NOT EXISTS idx_rfp_post ON read_model_feed_personalized (post_id);
-- What somebody posted lately, for the score of what they are shown.
CREATE INDEX IF NOT EXISTS idx_rps_author_created ON read_model_post_search (author_id, created_at DESC);

CREATE TABLE IF NOT EXISTS read_model_known_faces (user_id BIGINT PRIMARY KEY);
ALTER TABLE read_model_known_faces
    ADD COLUMN IF NOT EXISTS username VARCHAR(50) NOT NULL,
    ADD COLUMN IF NOT EXISTS department VARCHAR(100),
    ADD COLUMN IF NOT EXISTS profile_pic_url VARCHAR(255),
    ADD COLUMN IF NOT EXISTS face_embedding VECTOR(1024) NOT NULL,
    ADD COLUMN IF NOT EXISTS enrolled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS is_active BOOLEAN DEFAULT true,
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

CREATE INDEX IF NOT EXISTS idx_rkf_active ON read_model_known_faces (is_active) WHERE is_active = true;

-- A name that passes from one user to another would stop the copies of both; the users themselves keep it unique.
DO $$
DECLARE
    found RECORD;
BEGIN
    FOR found IN
        SELECT conrelid::regclass AS model, conname FROM pg_constraint
        WHERE conrelid IN ('read_model_user_search'::regclass, 'read_model_known_faces'::regclass) AND contype = 'u'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.model, found.conname);
    END LOOP;
END
$$;

-- Only one document has it, and there without a default.
ALTER TABLE read_model_media_search ALTER COLUMN media_type SET DEFAULT 'IMAGE';

-- Both documents let a backend say that it does not know whether a media is safe: then it is not.
CREATE OR REPLACE FUNCTION is_safe_when_moderated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.is_safe := false;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER is_safe_when_moderated BEFORE INSERT OR UPDATE ON read_model_media_search
FOR EACH ROW WHEN (NEW.is_safe IS NULL) EXECUTE FUNCTION is_safe_when_moderated();
CREATE OR REPLACE TRIGGER is_safe_when_moderated BEFORE INSERT OR UPDATE ON read_model_recommendations_knn
FOR EACH ROW WHEN (NEW.is_safe IS NULL) EXECUTE FUNCTION is_safe_when_moderated();

-- Revisions are a post's own: two posts that name one media do not wait for each other.
ALTER TABLE awaiting DROP CONSTRAINT awaiting_pkey, ADD PRIMARY KEY (table_name, pk, post_id);
ALTER TABLE awaiting ADD COLUMN IF NOT EXISTS reported_at TIMESTAMPTZ; -- when it was said that it has waited for long

-- One of the documents keeps vectors as JSON text. An index of neighbours costs far more than the row it is for, so
-- there is one where neighbours are looked for: similar images are what the recommendations are made for, and the same
-- vectors in the media search and in the AI tables have none.
DO $$
DECLARE
    vectors RECORD;
BEGIN
    FOR vectors IN
        SELECT * FROM (VALUES
            ('read_model_recommendations_knn', 'image_embedding', 512),
            ('read_model_face_search', 'face_embedding', 1024),
            ('read_model_known_faces', 'face_embedding', 1024)
        ) AS v (model, name, width)
    LOOP
        IF EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = vectors.model::regclass AND attname = vectors.name AND atttypid <> 'vector'::regtype
        ) THEN
            EXECUTE format(
                'ALTER TABLE %I ALTER COLUMN %I TYPE VECTOR(%s) USING %2$I::vector(%3$s)',
                vectors.model, vectors.name, vectors.width
            );
        END IF;
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS %I ON %I USING hnsw (%I vector_cosine_ops)',
            vectors.model || '_hnsw', vectors.model, vectors.name
        );
    END LOOP;
END
$$;

-- A row that is written again, as each is several times, stays on its page, and then no index is touched.
ALTER TABLE read_model_media_search SET (fillfactor = 50);
ALTER TABLE read_model_recommendations_knn SET (fillfactor = 50);
ALTER TABLE read_model_face_search SET (fillfactor = 50);

-- What rows of ours name and the backend no longer has, since when; a user also who counts as deleted there.
CREATE TABLE IF NOT EXISTS backend_gone (
    what TEXT NOT NULL, -- post, media or user
    id BIGINT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (what, id)
);
CREATE INDEX IF NOT EXISTS backend_gone_since ON backend_gone (what, since, id);

-- The revision that ended a post or media because the backend had it no longer: nobody said that it was deleted, so
-- when the backend has it again this ends nothing.
ALTER TABLE deleted_posts ADD COLUMN IF NOT EXISTS swept BIGINT;
ALTER TABLE deleted_media ADD COLUMN IF NOT EXISTS swept BIGINT;

-- Where somebody is on an image: to take them out again.
CREATE INDEX IF NOT EXISTS idx_rms_detected ON read_model_media_search USING gin (detected_user_ids)
WHERE detected_user_ids IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_rms_identified ON read_model_media_search USING gin (identified_user_ids)
WHERE identified_user_ids IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_rps_detected ON read_model_post_search USING gin (all_detected_user_ids)
WHERE all_detected_user_ids IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_mdf_suggested_user ON media_detected_faces (suggested_user_id)
WHERE suggested_user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_mdf_nobody ON media_detected_faces (id)
WHERE identified_user_id IS NULL AND suggested_user_id IS NULL AND status <> 'UNIDENTIFIED';

-- Their changes go to the outbox, and rows that were there before the trigger at once.
DO $$
DECLARE
    model TEXT;
    key TEXT;
BEGIN
    FOR model, key IN
        VALUES ('read_model_user_search', 'user_id'), ('read_model_face_search', 'id'),
            ('read_model_recommendations_knn', 'media_id'), ('read_model_feed_personalized', 'id'),
            ('read_model_known_faces', 'user_id')
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER es_outbox AFTER INSERT OR UPDATE OR DELETE ON %I '
            'FOR EACH ROW EXECUTE FUNCTION es_outbox_put(%L)', model, key
        );
        EXECUTE format(
            'INSERT INTO es_outbox (table_name, pk, version) SELECT %L, %I, nextval(''es_version'') FROM %1$I '
            'ON CONFLICT DO NOTHING', model, key
        );
    END LOOP;
END
$$;
