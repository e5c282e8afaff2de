"""The seven read models as the backend's two documents define them."""

from __future__ import annotations

import re

SCHEMA = """
CREATE TABLE read_model_media_search (
    media_id BIGINT PRIMARY KEY, post_id BIGINT NOT NULL, post_title VARCHAR(200), post_all_tags TEXT[],
    media_url VARCHAR(1000) NOT NULL, ai_caption TEXT, ai_tags TEXT[], ai_scenes TEXT[], image_embedding TEXT,
    is_safe BOOLEAN DEFAULT true, detected_user_ids BIGINT[], detected_usernames TEXT[], uploader_id BIGINT NOT NULL,
    uploader_username VARCHAR(50) NOT NULL, uploader_department VARCHAR(100), reaction_count INTEGER DEFAULT 0,
    comment_count INTEGER DEFAULT 0, created_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE TABLE read_model_post_search (
    post_id BIGINT PRIMARY KEY, author_id BIGINT NOT NULL, author_username VARCHAR(50) NOT NULL,
    author_department VARCHAR(100), title VARCHAR(200), body TEXT, all_ai_tags TEXT[], all_ai_scenes TEXT[],
    all_detected_user_ids BIGINT[], inferred_event_type VARCHAR(50), inferred_tags TEXT[], categories TEXT[],
    total_reactions INTEGER DEFAULT 0, total_comments INTEGER DEFAULT 0, created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE TABLE read_model_user_search (
    user_id BIGINT PRIMARY KEY, username VARCHAR(50) NOT NULL, full_name VARCHAR(100), department VARCHAR(100),
    bio TEXT, total_posts INTEGER DEFAULT 0, total_followers INTEGER DEFAULT 0, face_enrolled BOOLEAN DEFAULT false,
    joined_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE TABLE read_model_face_search (
    id BIGSERIAL PRIMARY KEY, face_id VARCHAR(50) UNIQUE NOT NULL, media_id BIGINT NOT NULL, post_id BIGINT NOT NULL,
    face_embedding TEXT NOT NULL, bbox INTEGER[], identified_user_id BIGINT, identified_username VARCHAR(50),
    match_confidence FLOAT, uploader_id BIGINT NOT NULL, post_title VARCHAR(200), media_url VARCHAR(1000),
    created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE read_model_recommendations_knn (
    media_id BIGINT PRIMARY KEY, image_embedding TEXT NOT NULL, media_url VARCHAR(1000) NOT NULL, caption TEXT,
    is_safe BOOLEAN DEFAULT true, created_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE read_model_feed_personalized (
    id BIGSERIAL PRIMARY KEY, feed_item_id VARCHAR(100) UNIQUE NOT NULL, target_user_id BIGINT NOT NULL,
    media_id BIGINT NOT NULL, media_url VARCHAR(1000), caption TEXT, uploader_id BIGINT NOT NULL,
    uploader_username VARCHAR(50), combined_score FLOAT DEFAULT 0, created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ
);
CREATE TABLE read_model_known_faces (
    user_id BIGINT PRIMARY KEY, username VARCHAR(50) NOT NULL, department VARCHAR(100), profile_pic_url VARCHAR(255),
    face_embedding TEXT NOT NULL, enrolled_at TIMESTAMPTZ NOT NULL DEFAULT now(), is_active BOOLEAN DEFAULT true
);
"""

INTEGRATION = """
CREATE TABLE read_model_media_search (
    media_id BIGINT PRIMARY KEY, post_id BIGINT NOT NULL, post_title VARCHAR(200), post_body TEXT,
    post_summary VARCHAR(500), post_total_images INTEGER DEFAULT 0, post_all_tags TEXT[], post_all_scenes TEXT[],
    media_position INTEGER DEFAULT 0, media_url VARCHAR(1000) NOT NULL, media_type VARCHAR(20) NOT NULL,
    thumbnail_url VARCHAR(1000), width INTEGER, height INTEGER, ai_status VARCHAR(20) DEFAULT 'PROCESSING',
    is_safe BOOLEAN, ai_caption TEXT, ai_tags TEXT[], ai_scenes TEXT[], ai_confidence_scores JSONB,
    image_embedding VECTOR(512), dominant_colors VARCHAR(20)[], detected_face_count INTEGER DEFAULT 0,
    identified_user_ids BIGINT[], identified_usernames TEXT[], identified_confidences FLOAT[],
    unidentified_face_count INTEGER DEFAULT 0, uploader_id BIGINT NOT NULL, uploader_username VARCHAR(50) NOT NULL,
    uploader_full_name VARCHAR(100), uploader_profile_pic VARCHAR(255), uploader_department VARCHAR(100),
    uploader_designation VARCHAR(100), reaction_count INTEGER DEFAULT 0, comment_count INTEGER DEFAULT 0,
    view_count BIGINT DEFAULT 0, save_count INTEGER DEFAULT 0, visibility VARCHAR(20) DEFAULT 'PUBLIC',
    post_status VARCHAR(20) DEFAULT 'PUBLISHED', created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(), indexed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT fk_media FOREIGN KEY (media_id) REFERENCES post_media(media_id) ON DELETE CASCADE,
    CONSTRAINT fk_post FOREIGN KEY (post_id) REFERENCES posts(post_id) ON DELETE CASCADE
);
CREATE TABLE read_model_post_search (
    post_id BIGINT PRIMARY KEY, author_id BIGINT NOT NULL, author_username VARCHAR(50) NOT NULL,
    author_full_name VARCHAR(100), author_department VARCHAR(100), title VARCHAR(200), body TEXT,
    summary VARCHAR(500), total_media INTEGER DEFAULT 0, total_images INTEGER DEFAULT 0, all_ai_tags TEXT[],
    all_ai_scenes TEXT[], all_detected_user_ids BIGINT[], all_detected_usernames TEXT[],
    has_unsafe_media BOOLEAN DEFAULT false, inferred_event_type VARCHAR(50), inferred_tags TEXT[], categories TEXT[],
    user_tagged_ids BIGINT[], user_tagged_usernames TEXT[], location_name VARCHAR(100), location_city VARCHAR(100),
    total_reactions INTEGER DEFAULT 0, total_comments INTEGER DEFAULT 0, total_views BIGINT DEFAULT 0,
    status VARCHAR(20) DEFAULT 'PUBLISHED', visibility VARCHAR(20) DEFAULT 'PUBLIC', created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT fk_post FOREIGN KEY (post_id) REFERENCES posts(post_id) ON DELETE CASCADE
);
CREATE TABLE read_model_user_search (
    user_id BIGINT PRIMARY KEY, username VARCHAR(50) NOT NULL UNIQUE, email VARCHAR(100), full_name VARCHAR(100),
    department VARCHAR(100), designation VARCHAR(100), bio TEXT, total_posts INTEGER DEFAULT 0,
    total_followers INTEGER DEFAULT 0, total_following INTEGER DEFAULT 0, face_enrolled BOOLEAN DEFAULT false,
    joined_at TIMESTAMPTZ NOT NULL, last_active TIMESTAMPTZ, account_status VARCHAR(20) DEFAULT 'ACTIVE',
    CONSTRAINT fk_user FOREIGN KEY (user_id) REFERENCES users(user_id) ON DELETE CASCADE
);
CREATE TABLE read_model_face_search (
    id BIGSERIAL PRIMARY KEY, face_id VARCHAR(50) UNIQUE NOT NULL, media_id BIGINT NOT NULL, post_id BIGINT NOT NULL,
    bbox INTEGER[], confidence FLOAT NOT NULL, face_embedding VECTOR(1024) NOT NULL,
    identification_status VARCHAR(20) DEFAULT 'UNKNOWN', identified_user_id BIGINT, identified_username VARCHAR(50),
    match_confidence FLOAT, uploader_id BIGINT NOT NULL, post_title VARCHAR(200), media_caption TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT fk_media FOREIGN KEY (media_id) REFERENCES post_media(media_id) ON DELETE CASCADE
);
CREATE TABLE read_model_recommendations_knn (
    media_id BIGINT PRIMARY KEY, image_embedding VECTOR(512) NOT NULL, media_url VARCHAR(1000) NOT NULL,
    thumbnail_url VARCHAR(1000), post_id BIGINT NOT NULL, caption TEXT, is_safe BOOLEAN DEFAULT true,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT fk_media FOREIGN KEY (media_id) REFERENCES post_media(media_id) ON DELETE CASCADE
);
CREATE TABLE read_model_feed_personalized (
    id BIGSERIAL PRIMARY KEY, feed_item_id VARCHAR(100) UNIQUE NOT NULL, target_user_id BIGINT NOT NULL,
    media_id BIGINT NOT NULL, media_url VARCHAR(1000), caption TEXT, uploader_id BIGINT NOT NULL,
    uploader_username VARCHAR(50), combined_score FLOAT DEFAULT 0, created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    CONSTRAINT fk_target_user FOREIGN KEY (target_user_id) REFERENCES users(user_id) ON DELETE CASCADE
);
CREATE TABLE read_model_known_faces (
    user_id BIGINT PRIMARY KEY, username VARCHAR(50) NOT NULL UNIQUE, face_embedding VECTOR(1024) NOT NULL,
    profile_pic_url VARCHAR(255), department VARCHAR(100), enrolled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    is_active BOOLEAN DEFAULT true,
    CONSTRAINT fk_user FOREIGN KEY (user_id) REFERENCES users(user_id) ON DELETE CASCADE
);
"""

DOCUMENTS = {"schema": SCHEMA, "integration": INTEGRATION}

_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN = re.compile(r"(?:^|,)\s*([a-z_]+) ([A-Z]+)")


def columns(document: str) -> dict[str, dict[str, str]]:
    """Of each table the columns and the first word of their types."""
    return {table: dict(_COLUMN.findall(body)) for table, body in _TABLE.findall(DOCUMENTS[document])}
