"""Texts for people: pages, forms and messages, in the language of their floor.

language   English or Korean, by scenario
phrases    the texts that approvers read, in both languages; figure_phrases those of figures
markdown   escapes texts of others in a page
printable  removes control characters from texts of others in a terminal
"""
