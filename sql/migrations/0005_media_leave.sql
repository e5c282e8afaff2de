-- Media that left their post: a late writer of an older change must not bring their rows back. By post, because
-- revisions are a post's own, and a media may have come to another one.
CREATE TABLE IF NOT EXISTS deleted_media (
    post_id BIGINT NOT NULL,
    media_id BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (post_id, media_id)
);

-- No tags yet is an empty list, not unknown.
ALTER TABLE read_model_media_search ALTER COLUMN post_all_tags SET DEFAULT '{}';
