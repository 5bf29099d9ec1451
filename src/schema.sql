-- The memory of the bot. MariaDB 10.6+ and MySQL 8.0.13+. Every statement can be run again.
-- What a fresh database gets. A change here needs a numbered file in src/migrations, too: a test compares the two ways.
-- Money and quantities are DECIMAL(36,18): wide enough for a coin priced at 1e-8 and for billions of them.
-- Times are DATETIME(6) in UTC; the bot's sessions run in '+00:00', whatever the server's zone is.

CREATE TABLE IF NOT EXISTS dca_meta (
    name       VARCHAR(64)  NOT NULL PRIMARY KEY,
    value      VARCHAR(255) NOT NULL,
    updated_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- What to trade and how: one row per symbol, edited by the user.
CREATE TABLE IF NOT EXISTS dca_assets (
    id                      INT            NOT NULL AUTO_INCREMENT PRIMARY KEY,
    asset_symbol            VARCHAR(32)    NOT NULL,                    -- 'BTC/USD'
    is_enabled              BOOLEAN        NOT NULL DEFAULT TRUE,       -- FALSE: no buys; what is held is still sold
    base_order_amount       DECIMAL(36,18) NOT NULL,                    -- USD
    safety_order_amount     DECIMAL(36,18) NOT NULL,                    -- USD
    max_safety_orders       INT            NOT NULL DEFAULT 0,
    safety_order_deviation  DECIMAL(12,6)  NOT NULL,                    -- percent below the last fill
    take_profit_percent     DECIMAL(12,6)  NOT NULL,                    -- percent above the average price
    cooldown_period         INT            NOT NULL DEFAULT 0,          -- seconds after a sell
    buy_order_price_deviation_percent DECIMAL(12,6) NULL DEFAULT NULL,  -- early restart below last_sell_price; NULL: never
    last_sell_price         DECIMAL(36,18) NULL DEFAULT NULL,
    take_profit_fee_percent DECIMAL(12,6)  NULL DEFAULT NULL,           -- fee per side that take profit adds; NULL: plain formula
    safety_order_volume_scale DECIMAL(12,6) NOT NULL DEFAULT 1,         -- each safety order costs this many times the one before
    safety_order_step_scale DECIMAL(12,6)  NOT NULL DEFAULT 1,          -- each deviation is this many times the one before
    safety_order_reference  ENUM('last_fill','base_order') NOT NULL DEFAULT 'last_fill', -- what the deviations are below
    trailing_take_profit_percent DECIMAL(12,6) NULL DEFAULT NULL,       -- below the peak that follows the target; NULL: sell at the target
    stop_loss_percent       DECIMAL(12,6)  NULL DEFAULT NULL,           -- below the average price; NULL: never
    stop_loss_seconds       INT            NOT NULL DEFAULT 0,          -- how long the bid must stay below
    stop_loss_action        ENUM('disable','cooldown') NOT NULL DEFAULT 'disable', -- what follows a stop loss
    start_mode              ENUM('at_once','manual') NOT NULL DEFAULT 'at_once', -- manual: a base order waits for open_requested
    max_entry_price         DECIMAL(36,18) NULL DEFAULT NULL,           -- USD; no base order above it; NULL: any price
    created_at              DATETIME(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at              DATETIME(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    UNIQUE KEY uq_asset_symbol (asset_symbol)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- One cycle from its base order to its take profit. At most one open cycle per asset (uq_one_open_cycle).
CREATE TABLE IF NOT EXISTS dca_cycles (
    id                     INT            NOT NULL AUTO_INCREMENT PRIMARY KEY,
    asset_id               INT            NOT NULL,
    status                 ENUM('watching','buying','selling','cooldown','complete','error') NOT NULL DEFAULT 'watching',
    quantity               DECIMAL(36,18) NOT NULL DEFAULT 0,           -- coins as filled, before the coin fee
    average_purchase_price DECIMAL(36,18) NOT NULL DEFAULT 0,
    safety_orders          INT            NOT NULL DEFAULT 0,
    latest_order_id        VARCHAR(64)    NULL DEFAULT NULL,            -- Alpaca's id of the open order
    last_order_fill_price  DECIMAL(36,18) NULL DEFAULT NULL,
    completed_at           DATETIME(6)    NULL DEFAULT NULL,            -- the exchange's time of the last fill
    created_at             DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)), -- UTC in a session of any time zone
    updated_at             DATETIME(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    order_seq              INT            NOT NULL DEFAULT 0,           -- how many orders of this cycle have ended
    order_key              CHAR(8)        NOT NULL DEFAULT (LPAD(HEX(CRC32(CONCAT(UUID(), RAND()))), 8, '0')),
    close_requested        BOOLEAN        NOT NULL DEFAULT FALSE,       -- the user wants it sold now, at any price; no buys
    open_requested         BOOLEAN        NOT NULL DEFAULT FALSE,       -- the user wants its base order now (start_mode manual)
    base_order_price       DECIMAL(36,18) NULL DEFAULT NULL,            -- USD; the fill price of its base order
    trailing_peak          DECIMAL(36,18) NULL DEFAULT NULL,            -- USD; the highest bid since the target was reached
    stop_loss_fired        BOOLEAN        NOT NULL DEFAULT FALSE,       -- its stop loss sells it now, at any price; no buys
    open_asset_id          INT GENERATED ALWAYS AS (IF(status IN ('complete','error'), NULL, asset_id)) VIRTUAL,
    UNIQUE KEY uq_one_open_cycle (open_asset_id),
    KEY ix_asset_created (asset_id, created_at, id),
    KEY ix_asset_latest (asset_id, id),
    KEY ix_asset_completed (asset_id, completed_at, id),
    KEY ix_status (status),
    KEY ix_latest_order (latest_order_id),
    CONSTRAINT fk_cycle_asset FOREIGN KEY (asset_id) REFERENCES dca_assets (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- The journal: one row for every order that ended, written with the change it caused. Append-only; outlives the rows above.
CREATE TABLE IF NOT EXISTS dca_orders (
    id               BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    asset_id         INT            NOT NULL,
    symbol           VARCHAR(32)    NOT NULL,
    cycle_id         INT            NOT NULL,
    order_seq        INT            NOT NULL,
    purpose          ENUM('base','safety','take_profit','stop_loss') NOT NULL,
    side             ENUM('buy','sell') NOT NULL,
    alpaca_order_id  VARCHAR(64)    NOT NULL,
    client_order_id  VARCHAR(160)   NOT NULL,                           -- a correction carries '<id>/cN'
    requested_qty    DECIMAL(36,18) NULL,
    limit_price      DECIMAL(36,18) NULL,
    filled_qty       DECIMAL(36,18) NOT NULL DEFAULT 0,
    filled_avg_price DECIMAL(36,18) NULL,
    final_status     VARCHAR(32)    NOT NULL,
    submitted_at     DATETIME(6)    NULL,
    ended_at         DATETIME(6)    NULL,
    fee_qty          DECIMAL(36,18) NOT NULL DEFAULT 0,                 -- coins
    fee_usd          DECIMAL(36,18) NOT NULL DEFAULT 0,
    fee_is_estimated BOOLEAN        NOT NULL DEFAULT TRUE,
    note             VARCHAR(255)   NULL DEFAULT NULL,
    created_at       DATETIME(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY uq_client_order_id (client_order_id),
    KEY ix_alpaca_order_id (alpaca_order_id),
    KEY ix_cycle (cycle_id, order_seq),
    KEY ix_ended_at (ended_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Repairs, blocks, corrections and alerts. Append-only. Rows with the same kind, symbol, cycle_id, order_id and dedupe_key are the
-- same alert, whatever their reason says. The newest of them counts: 'error' is open, 'warning' was
-- acknowledged, 'info' is over.
CREATE TABLE IF NOT EXISTS dca_events (
    id         BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind       VARCHAR(64)  NOT NULL,                                   -- EventKind in src/domain/events.py
    severity   ENUM('info','warning','error') NOT NULL,
    asset_id   INT          NULL,
    symbol     VARCHAR(32)  NULL,
    cycle_id   INT          NULL,
    order_id   VARCHAR(64)  COLLATE utf8mb4_bin NULL DEFAULT NULL,      -- Alpaca's id of the order that it is about
    dedupe_key VARCHAR(160) COLLATE utf8mb4_bin NULL DEFAULT NULL,      -- what else makes it another than others of its kind
    reason     VARCHAR(500) NOT NULL,
    created_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY ix_created (created_at),
    KEY ix_cycle_kind (cycle_id, kind),
    KEY ix_kind (kind, created_at),
    KEY ix_identity (order_id, kind, dedupe_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- Last, when all tables are there. `mysql < src/schema.sql` by hand makes a database that the bot accepts; older tables keep their
-- version, and scripts/setup upgrades them.
INSERT IGNORE INTO dca_meta (name, value) VALUES ('schema_version', '5');
