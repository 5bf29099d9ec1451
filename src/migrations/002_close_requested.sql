-- Version 1 to 2: a request to sell a cycle now (scripts/bot close), and what early databases of version 1 lack.
-- One change per statement: one that is there already, because a run was interrupted, counts as done.

-- Databases made before ix_kind was added to version 1 do not have it.
ALTER TABLE dca_events ADD KEY ix_kind (kind, created_at);

-- The first order_key of version 1 was computed by a function that MySQL does not take here. Rows keep their keys.
ALTER TABLE dca_cycles ALTER COLUMN order_key SET DEFAULT (LPAD(HEX(CRC32(CONCAT(UUID(), RAND()))), 8, '0'));

ALTER TABLE dca_cycles ADD COLUMN close_requested BOOLEAN NOT NULL DEFAULT FALSE AFTER order_key;
