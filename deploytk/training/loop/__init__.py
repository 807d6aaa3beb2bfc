"""The training loop in plain torch that backends share: what they bring is a `task.Task`.

Each technique is a file of its own. Importing this package imports no library.
"""
