-- Media that left their post: a late writer of an older change must not bring their rows back.
CREATE TABLE IF NOT EXISTS deleted_media (
    media_id BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL,
    deleted_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- No tags yet is an empty list, not unknown.
ALTER TABLE read_model_media_search ALTER COLUMN post_all_tags SET DEFAULT '{}';
