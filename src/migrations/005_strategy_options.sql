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
