//! The command line: zddcluster's own verbs and the grammar of the dcos client.
