"""Data sets: read, checked, fingerprinted, made; nothing else opens an image or a label.

dataset -> checker -> description -> yaml_file, class_names    data.yaml
                   -> listing                    which files a split is made of
                   -> examination -> cache       what one image and one label file say, kept
                      -> decoding, labels        the one decoder; rows become boxes
                   -> neighbours, contamination  what shows only beside other files
conversion -> foreign_sets -> kinds, documents   data sets of other tools become one
splitting                                        splits that are missing are made
rules, findings                                  what can be found, and what was
report_page -> summary                           the same for people, as a page
"""
