"""Words for people: pages, forms and messages, in the language of their floor.

language   English or Korean, by scenario; numbers, dates and lists
phrases    each sentence that approvers read, in both languages
markdown   text of others inside a page stays text
printable  text of others in a terminal stays text
"""
