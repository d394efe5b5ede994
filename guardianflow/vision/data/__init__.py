"""Data sets: read, checked, converted and split; only this package opens images and labels.

sample                                           labelled images: what all the others make
dataset -> checker -> description -> yaml_file, class_names    data.yaml
                   -> listing                    the files of a split
                   -> examination -> cache       facts about one image or label file, cached
                      -> decoding, labels        decodes images; turns label rows into boxes
                   -> wanted_classes             those of the scenario, in its order
                   -> neighbours, contamination  what only a comparison of files shows
conversion -> foreign_sets -> kinds, documents   converts data sets of other tools
handover                                         writes train and val for other trainers
texts                                            files as text, whatever their encoding
splitting                                        makes missing splits
rules, findings                                  what a check can find, and what it found
report_page -> summary                           the report of a check as a page
"""
