-- A message for whoever has an address, if anybody does: who that is is asked when it is due, and the row is gone with it.
ALTER TABLE messages.messages DROP CONSTRAINT messages_audience_check;
ALTER TABLE messages.messages ADD CONSTRAINT messages_audience_check
    CHECK (audience IN ('address', 'holder', 'number', 'user', 'administrators', 'billing_contact', 'operators'));
