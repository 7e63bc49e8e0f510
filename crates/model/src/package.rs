//! The built-in packages: what `dcos package install` turns into an app.
