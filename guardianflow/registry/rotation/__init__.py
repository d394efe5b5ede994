"""The rotation: what moves the aliases of a base and its variants, and when it may.

    request         who asks for what                                   (data)
    rules           release state + request -> next state, or a refusal (pure)
    refusals        how the rules say no, with the command that helps   (pure)
    repetition      what an interrupted operation means for the next    (pure)
    release_reader  reads a release: newest operation, aliases, versions, files
    operations      read -> decide -> commit -> project
    projection      mirror -> aliases -> tags -> done
    aliases         the only writes of aliases
    outcome         what callers see before an operation and after it   (data)
    remarks         what a person should know beside what moves         (pure)

`guardianflow.registry.ModelRegistryManager` is the public face of all this.
"""
