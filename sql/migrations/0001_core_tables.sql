-- The backend's own tables. Where the backend has made them they stay as they are, their indexes too.

DO $$
BEGIN
    IF to_regclass('users') IS NULL THEN
        CREATE TABLE users (
            user_id BIGSERIAL PRIMARY KEY,
            username VARCHAR(50) NOT NULL UNIQUE,
            email VARCHAR(100) NOT NULL UNIQUE,
            password VARCHAR(255) NOT NULL,
            full_name VARCHAR(100),
            department VARCHAR(100),
            designation VARCHAR(100),
            bio TEXT,
            profile_picture_url VARCHAR(255),
            cover_photo_url VARCHAR(255),
            role VARCHAR(20) NOT NULL,
            account_status VARCHAR(20) NOT NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
        );
        CREATE INDEX idx_users_username ON users (username);
        CREATE INDEX idx_users_email ON users (email);
        CREATE INDEX idx_users_role ON users (role);
        CREATE INDEX idx_users_status ON users (account_status);
    END IF;

    IF to_regclass('posts') IS NULL THEN
        CREATE TABLE posts (
            post_id BIGSERIAL PRIMARY KEY,
            user_id BIGINT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
            title VARCHAR(200),
            body TEXT,
            status VARCHAR(20) NOT NULL DEFAULT 'DRAFT',
            visibility VARCHAR(20) NOT NULL DEFAULT 'PUBLIC',
            created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
        );
        CREATE INDEX idx_posts_user ON posts (user_id);
        CREATE INDEX idx_posts_status ON posts (status);
        CREATE INDEX idx_posts_visibility ON posts (visibility);
        CREATE INDEX idx_posts_created ON posts (created_at DESC);
    END IF;

    IF to_regclass('post_media') IS NULL THEN
        CREATE TABLE post_media (
            media_id BIGSERIAL PRIMARY KEY,
            post_id BIGINT NOT NULL REFERENCES posts (post_id) ON DELETE CASCADE,
            media_type VARCHAR(20) NOT NULL,
            media_url VARCHAR(1000) NOT NULL,
            thumbnail_url VARCHAR(1000),
            position INTEGER DEFAULT 0,
            width INTEGER,
            height INTEGER,
            file_size_kb INTEGER,
            duration_seconds INTEGER,
            extra_metadata JSONB,
            created_at TIMESTAMPTZ NOT NULL DEFAULT now()
        );
        CREATE INDEX idx_post_media_post ON post_media (post_id);
        CREATE INDEX idx_post_media_type ON post_media (media_type);
        CREATE INDEX idx_post_media_position ON post_media (post_id, position);
    END IF;
END
$$;
