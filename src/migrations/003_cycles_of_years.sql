-- Version 2 to 3: the state of an asset is read fast however many cycles it had, and a row made by hand has the time in UTC.

-- The newest cycle of an asset, and the last one that ended, are each the first row of an index.
ALTER TABLE dca_cycles ADD KEY ix_asset_latest (asset_id, id);

ALTER TABLE dca_cycles ADD KEY ix_asset_completed (asset_id, completed_at, id);

-- CURRENT_TIMESTAMP is the session's: a row made in another time zone lay hours ahead, and the cooldown after it never ended.
ALTER TABLE dca_cycles ALTER COLUMN created_at SET DEFAULT (UTC_TIMESTAMP(6));
