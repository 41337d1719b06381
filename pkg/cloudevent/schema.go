package cloudevent

import (
	"embed"
	"io/fs"
)

// SchemaPath is where the service serves the schemas: GET SchemaPath + a name of [SchemaNames].
const SchemaPath = "/ai/admin/schemas/"

// SchemaType is the media type of a JSON Schema.
const SchemaType = "application/schema+json"

//go:embed schemas/*.json
var schemas embed.FS

// Schema returns the JSON Schema (draft 2020-12) of that name, such as user.created.json.
func Schema(name string) ([]byte, bool) {
	text, err := schemas.ReadFile("schemas/" + name)
	return text, err == nil
}

// SchemaNames lists the schemas: one for the data of each event type, and the user they share.
func SchemaNames() []string {
	files, err := fs.Glob(schemas, "schemas/*.json")
	if err != nil {
		panic(err) // the pattern is malformed: no input can cause it
	}
	for i := range files {
		files[i] = files[i][len("schemas/"):]
	}
	return files
}
