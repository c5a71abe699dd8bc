"""Reads a list by page number while the list changes: which pages to request, which to trust.

`frontier` is the proof, `reconciler` the read, `paginator` its requests. Two questions concern several modules:

- How large is a page? Every page, the last one too, has `PageSize.value`: as requested, or less if the server has cut
  or refused a page. `Pacing.window_at` takes a size near it to overlap; a check of the end requests 20 rows.
- How many pages are requested at once? As many as `Reconciler.windows` returns: at most `Pacing.read_ahead`, one more
  than there are idle `RequestSlots`, and what is expected of the list.
"""
