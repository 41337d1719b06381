package app

import "runtime/debug"

// Version is what this binary was built from: the tag or commit that the linker stamped or,
// without one, what the go command recorded of the repository (such as
// v0.0.0-20261127020304-0123456789ab+dirty); "unknown" where neither is there.
func Version(stamped string) string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if version := info.Main.Version; info.Main.Path == "aiadmin" && version != "" && version != "(devel)" {
		return version
	}
	commit, modified := "unknown", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			modified = "+dirty"
		}
	}
	return commit + modified
}
