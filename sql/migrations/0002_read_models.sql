-- The read models: the columns of both documents in one table each, without foreign keys. Where the backend has made
-- a table from either document, what it lacks is added. Every column that only one document has can be left out.

CREATE EXTENSION IF NOT EXISTS vector;

-- A JDBC driver binds a vector as text or varchar; pgvector itself casts only from arrays.
DO $$
DECLARE
    source TEXT;
BEGIN
    FOREACH source IN ARRAY ARRAY['text', 'varchar'] LOOP
        BEGIN
            EXECUTE format('CREATE CAST (%s AS vector) WITH INOUT AS ASSIGNMENT', source);
        EXCEPTION
            WHEN duplicate_object THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'no right to create the cast from % to vector: vectors bound as % need CAST(? AS vector)',
                    source, source;
        END;
    END LOOP;
END
$$;

CREATE TABLE IF NOT EXISTS read_model_media_search (media_id BIGINT PRIMARY KEY);
ALTER TABLE read_model_media_search
    ADD COLUMN IF NOT EXISTS post_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS post_title VARCHAR(200),
    ADD COLUMN IF NOT EXISTS post_body TEXT,
    ADD COLUMN IF NOT EXISTS post_summary VARCHAR(500),
    ADD COLUMN IF NOT EXISTS post_total_images INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS post_all_tags TEXT[],
    ADD COLUMN IF NOT EXISTS post_all_scenes TEXT[],
    ADD COLUMN IF NOT EXISTS media_position INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS media_url VARCHAR(1000) NOT NULL,
    ADD COLUMN IF NOT EXISTS media_type VARCHAR(20) NOT NULL DEFAULT 'IMAGE',
    ADD COLUMN IF NOT EXISTS thumbnail_url VARCHAR(1000),
    ADD COLUMN IF NOT EXISTS width INTEGER,
    ADD COLUMN IF NOT EXISTS height INTEGER,
    ADD COLUMN IF NOT EXISTS ai_status VARCHAR(20) DEFAULT 'PROCESSING',
    ADD COLUMN IF NOT EXISTS is_safe BOOLEAN,
    ADD COLUMN IF NOT EXISTS ai_caption TEXT,
    ADD COLUMN IF NOT EXISTS ai_tags TEXT[],
    ADD COLUMN IF NOT EXISTS ai_scenes TEXT[],
    ADD COLUMN IF NOT EXISTS ai_confidence_scores JSONB,
    ADD COLUMN IF NOT EXISTS image_embedding VECTOR(512),
    ADD COLUMN IF NOT EXISTS dominant_colors VARCHAR(20)[],
    ADD COLUMN IF NOT EXISTS detected_user_ids BIGINT[],
    ADD COLUMN IF NOT EXISTS detected_usernames TEXT[],
    ADD COLUMN IF NOT EXISTS detected_face_count INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS identified_user_ids BIGINT[],
    ADD COLUMN IF NOT EXISTS identified_usernames TEXT[],
    ADD COLUMN IF NOT EXISTS identified_confidences FLOAT[],
    ADD COLUMN IF NOT EXISTS unidentified_face_count INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS uploader_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS uploader_username VARCHAR(50) NOT NULL,
    ADD COLUMN IF NOT EXISTS uploader_full_name VARCHAR(100),
    ADD COLUMN IF NOT EXISTS uploader_profile_pic VARCHAR(255),
    ADD COLUMN IF NOT EXISTS uploader_department VARCHAR(100),
    ADD COLUMN IF NOT EXISTS uploader_designation VARCHAR(100),
    ADD COLUMN IF NOT EXISTS reaction_count INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS comment_count INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS view_count BIGINT DEFAULT 0,
    ADD COLUMN IF NOT EXISTS save_count INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS visibility VARCHAR(20) DEFAULT 'PUBLIC',
    ADD COLUMN IF NOT EXISTS post_status VARCHAR(20) DEFAULT 'PUBLISHED',
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ NOT NULL,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ DEFAULT now(),
    ADD COLUMN IF NOT EXISTS indexed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

-- One of the documents keeps vectors as JSON text.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'read_model_media_search'::regclass
            AND attname = 'image_embedding' AND atttypid <> 'vector'::regtype
    ) THEN
        ALTER TABLE read_model_media_search
            ALTER COLUMN image_embedding TYPE VECTOR(512) USING image_embedding::vector(512);
    END IF;
END
$$;

-- What nobody has moderated is not safe.
ALTER TABLE read_model_media_search ALTER COLUMN is_safe SET DEFAULT false;
UPDATE read_model_media_search SET is_safe = false WHERE is_safe IS NULL;
ALTER TABLE read_model_media_search ALTER COLUMN is_safe SET NOT NULL;

CREATE INDEX IF NOT EXISTS idx_rms_post ON read_model_media_search (post_id);
CREATE INDEX IF NOT EXISTS idx_rms_uploader ON read_model_media_search (uploader_id);
CREATE INDEX IF NOT EXISTS idx_rms_created ON read_model_media_search (created_at DESC);
CREATE INDEX IF NOT EXISTS idx_rms_updated ON read_model_media_search (updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_rms_ai_tags ON read_model_media_search USING gin (ai_tags);
CREATE INDEX IF NOT EXISTS idx_rms_post_all_tags ON read_model_media_search USING gin (post_all_tags);

CREATE TABLE IF NOT EXISTS read_model_post_search (post_id BIGINT PRIMARY KEY);
ALTER TABLE read_model_post_search
    ADD COLUMN IF NOT EXISTS author_id BIGINT NOT NULL,
    ADD COLUMN IF NOT EXISTS author_username VARCHAR(50) NOT NULL,
    ADD COLUMN IF NOT EXISTS author_full_name VARCHAR(100),
    ADD COLUMN IF NOT EXISTS author_department VARCHAR(100),
    ADD COLUMN IF NOT EXISTS title VARCHAR(200),
    ADD COLUMN IF NOT EXISTS body TEXT,
    ADD COLUMN IF NOT EXISTS summary VARCHAR(500),
    ADD COLUMN IF NOT EXISTS total_media INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS total_images INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS all_ai_tags TEXT[],
    ADD COLUMN IF NOT EXISTS all_ai_scenes TEXT[],
    ADD COLUMN IF NOT EXISTS all_detected_user_ids BIGINT[],
    ADD COLUMN IF NOT EXISTS all_detected_usernames TEXT[],
    ADD COLUMN IF NOT EXISTS has_unsafe_media BOOLEAN DEFAULT false,
    ADD COLUMN IF NOT EXISTS inferred_event_type VARCHAR(50),
    ADD COLUMN IF NOT EXISTS inferred_tags TEXT[],
    ADD COLUMN IF NOT EXISTS categories TEXT[],
    ADD COLUMN IF NOT EXISTS user_tagged_ids BIGINT[],
    ADD COLUMN IF NOT EXISTS user_tagged_usernames TEXT[],
    ADD COLUMN IF NOT EXISTS location_name VARCHAR(100),
    ADD COLUMN IF NOT EXISTS location_city VARCHAR(100),
    ADD COLUMN IF NOT EXISTS total_reactions INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS total_comments INTEGER DEFAULT 0,
    ADD COLUMN IF NOT EXISTS total_views BIGINT DEFAULT 0,
    ADD COLUMN IF NOT EXISTS status VARCHAR(20) DEFAULT 'PUBLISHED',
    ADD COLUMN IF NOT EXISTS visibility VARCHAR(20) DEFAULT 'PUBLIC',
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ NOT NULL,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ DEFAULT now(),
    ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

CREATE INDEX IF NOT EXISTS idx_rps_author ON read_model_post_search (author_id);
CREATE INDEX IF NOT EXISTS idx_rps_created ON read_model_post_search (created_at DESC);
CREATE INDEX IF NOT EXISTS idx_rps_updated ON read_model_post_search (updated_at DESC);
CREATE INDEX IF NOT EXISTS idx_rps_all_tags ON read_model_post_search USING gin (all_ai_tags);
