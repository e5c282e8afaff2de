-- Rows that cannot be written yet because the backend's own rows are not there, one entry per row to be written,
-- with the newest change for it.

CREATE TABLE IF NOT EXISTS awaiting (
    table_name TEXT NOT NULL,
    pk BIGINT NOT NULL,
    post_id BIGINT NOT NULL,
    media_id BIGINT,                                -- null: the post itself
    awaited TEXT NOT NULL,                          -- the table that lacks a row
    revision BIGINT NOT NULL,
    change BYTEA NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    next_attempt TIMESTAMPTZ NOT NULL DEFAULT now() + interval '1 second',
    attempts INTEGER NOT NULL DEFAULT 0,
    refused TEXT,                                   -- why it can never be written
    PRIMARY KEY (table_name, pk)
);
CREATE INDEX IF NOT EXISTS awaiting_post ON awaiting (post_id);
CREATE INDEX IF NOT EXISTS awaiting_due ON awaiting (next_attempt);

-- Posts that are gone: a replay of an older change must not bring their rows back.
CREATE TABLE IF NOT EXISTS deleted_posts (
    post_id BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL,
    deleted_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
