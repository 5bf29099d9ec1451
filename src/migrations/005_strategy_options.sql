-- Version 4 to 5: scales and reference of the ladder, trailing take profit, stop loss, and when a cycle begins. Every default is what
-- version 4 did.

ALTER TABLE dca_assets ADD COLUMN safety_order_volume_scale DECIMAL(12,6) NOT NULL DEFAULT 1 AFTER take_profit_fee_percent;

ALTER TABLE dca_assets ADD COLUMN safety_order_step_scale DECIMAL(12,6) NOT NULL DEFAULT 1 AFTER safety_order_volume_scale;

ALTER TABLE dca_assets ADD COLUMN safety_order_reference ENUM('last_fill','base_order') NOT NULL DEFAULT 'last_fill' AFTER safety_order_step_scale;

ALTER TABLE dca_assets ADD COLUMN trailing_take_profit_percent DECIMAL(12,6) NULL DEFAULT NULL AFTER safety_order_reference;

ALTER TABLE dca_assets ADD COLUMN stop_loss_percent DECIMAL(12,6) NULL DEFAULT NULL AFTER trailing_take_profit_percent;

ALTER TABLE dca_assets ADD COLUMN stop_loss_seconds INT NOT NULL DEFAULT 0 AFTER stop_loss_percent;

ALTER TABLE dca_assets ADD COLUMN stop_loss_action ENUM('disable','cooldown') NOT NULL DEFAULT 'disable' AFTER stop_loss_seconds;

ALTER TABLE dca_assets ADD COLUMN start_mode ENUM('at_once','manual') NOT NULL DEFAULT 'at_once' AFTER stop_loss_action;

ALTER TABLE dca_assets ADD COLUMN max_entry_price DECIMAL(36,18) NULL DEFAULT NULL AFTER start_mode;

ALTER TABLE dca_cycles ADD COLUMN open_requested BOOLEAN NOT NULL DEFAULT FALSE AFTER close_requested;

ALTER TABLE dca_cycles ADD COLUMN base_order_price DECIMAL(36,18) NULL DEFAULT NULL AFTER open_requested;

ALTER TABLE dca_cycles ADD COLUMN trailing_peak DECIMAL(36,18) NULL DEFAULT NULL AFTER base_order_price;

ALTER TABLE dca_cycles ADD COLUMN stop_loss_fired BOOLEAN NOT NULL DEFAULT FALSE AFTER trailing_peak;

ALTER TABLE dca_orders MODIFY COLUMN purpose ENUM('base','safety','take_profit','stop_loss') NOT NULL;

-- The base order of each open cycle, from the journal: the last one that bought more than dust (without such a buy nothing is noted as
-- the last fill), with what it filled after its end. Rows made by hand have no journal, and count from their average.
UPDATE dca_cycles c
  JOIN (SELECT o.cycle_id, o.asset_id,
               IF(COUNT(*) = 1, MIN(o.filled_avg_price), TRUNCATE(SUM(o.filled_qty * o.filled_avg_price) / SUM(o.filled_qty), 18)) AS price
          FROM dca_orders o
          JOIN (SELECT cycle_id, asset_id, MAX(order_seq) AS order_seq
                  FROM dca_orders
                 WHERE purpose = 'base' AND filled_qty > 0
                 GROUP BY cycle_id, asset_id) last
            ON last.cycle_id = o.cycle_id AND last.asset_id = o.asset_id AND last.order_seq = o.order_seq
         WHERE o.purpose = 'base' AND o.filled_qty > 0
         GROUP BY o.cycle_id, o.asset_id) base
    ON base.cycle_id = c.id AND base.asset_id = c.asset_id
   SET c.base_order_price = base.price, c.updated_at = c.updated_at
 WHERE c.base_order_price IS NULL AND c.last_order_fill_price IS NOT NULL AND c.status NOT IN ('complete', 'error');
