"""Data sets: read, checked, converted and split; only this package opens images and labels.

dataset -> checker -> description -> yaml_file, class_names    data.yaml
                   -> listing                    the files of a split
                   -> examination -> cache       facts about one image or label file, cached
                      -> decoding, labels        decodes images; turns label rows into boxes
                   -> neighbours, contamination  what only a comparison of files shows
conversion -> foreign_sets -> kinds, documents   converts data sets of other tools
splitting                                        makes missing splits
rules, findings                                  what a check can find, and what it found
report_page -> summary                           the report of a check as a page
"""
