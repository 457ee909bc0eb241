-- Asked before a listing is posted again on the same account.
CREATE INDEX postings_published ON postings (listing_id, account_id, created_at DESC, id DESC)
    WHERE state = 'published';
