-- Version 3 to 4: columns, not the words of reason, decide which rows of dca_events are the same alert.

ALTER TABLE dca_events ADD COLUMN order_id VARCHAR(64) COLLATE utf8mb4_bin NULL DEFAULT NULL AFTER cycle_id;

ALTER TABLE dca_events ADD COLUMN dedupe_key VARCHAR(160) COLLATE utf8mb4_bin NULL DEFAULT NULL AFTER order_id;

ALTER TABLE dca_events ADD KEY ix_identity (order_id, kind, dedupe_key);

-- The alerts and requests of version 3 are not repeated: its sentences are read here, once, and nowhere else. A second run writes the
-- same again. There are no rows of version 4 yet: it does not start before this is finished.

-- '... (order ID)'
UPDATE dca_events SET order_id = LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(reason, '(order ', -1), ')', 1), 64)
 WHERE order_id IS NULL AND kind IN ('order_cancel_requested', 'order_cancel_refused', 'order_cancel_lasting') AND reason LIKE '%(order %)';

-- 'order NAME (ID) on SYMBOL belongs to no cycle: ...', '... (ID) cannot be read: ...', '... (ID) cannot be written: ...'
UPDATE dca_events SET order_id = LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(reason, ') on ', 1), '(', -1), 64)
 WHERE order_id IS NULL AND kind = 'order_unclaimed' AND reason LIKE 'order %(%) on %';

UPDATE dca_events SET order_id = LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(reason, ') cannot be ', 1), '(', -1), 64)
 WHERE order_id IS NULL AND kind IN ('order_unreadable', 'order_unwritable') AND reason LIKE 'order %(%) cannot be %';

-- 'order NAME is STATUS for more than 15 minutes': only of the order that a cycle waits for.
UPDATE dca_events e
  JOIN dca_cycles c ON e.reason LIKE CONCAT('order dca-', c.id, '-', c.order_key, '-', c.order_seq, ' is % for more than 15 minutes')
   SET e.order_id = c.latest_order_id,
       e.dedupe_key = LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(e.reason, ' is ', -1), ' for more than ', 1), 160)
 WHERE e.order_id IS NULL AND e.kind = 'order_long_open' AND c.latest_order_id IS NOT NULL;

-- '... its asset is SYMBOL: if ...'
UPDATE dca_events SET dedupe_key = LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(reason, ' its asset is ', -1), ': if ', 1), 160)
 WHERE dedupe_key IS NULL AND kind = 'asset_renamed';

-- 'order NAME: a cycle in STATUS cannot have FACT'
UPDATE dca_events SET dedupe_key = LEFT(CONCAT(SUBSTRING_INDEX(SUBSTRING(reason, 7), ': ', 1), ' ', SUBSTRING_INDEX(reason, ' ', -1)), 160)
 WHERE dedupe_key IS NULL AND kind = 'transition_forbidden';

-- 'BTC/USD: TOTAL coins were posted for the buys of DAY[ to DAY], ...', 'all symbols: TOTAL USD were posted for the sells of ...'
UPDATE dca_events SET dedupe_key = LEFT(CONCAT(
         IF(reason LIKE '% for the sells of %', 'sell ', 'buy '),
         LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(reason, ', ', 1), 's of ', -1), 10), ' ',
         RIGHT(SUBSTRING_INDEX(reason, ', ', 1), 10), ' ',
         SUBSTRING_INDEX(SUBSTRING_INDEX(SUBSTRING_INDEX(reason, ' were posted ', 1), ': ', -1), ' ', 1)), 160)
 WHERE dedupe_key IS NULL AND kind IN ('fees_incomplete', 'fees_implausible');
