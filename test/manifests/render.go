package validate

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"gopkg.in/yaml.v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Object is one rendered Kubernetes object.
type Object struct {
	APIVersion, Kind, Name, Namespace string
	// YAML is the object's own document.
	YAML []byte
}

// String names the object the way kubectl does.
func (o Object) String() string { return o.Kind + "/" + o.Name }

// Render returns what `kubectl kustomize dir` prints, one Object for each document.
func Render(dir string) ([]Object, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // kubectl's: namespaces first
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	text, err := resources.AsYaml()
	if err != nil {
		return nil, err
	}
	return Split(text)
}

// Split cuts a stream of YAML documents into objects; empty documents are dropped.
func Split(stream []byte) ([]Object, error) {
	var objects []Object
	decoder := yaml.NewDecoder(bytes.NewReader(stream))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, err := newObject(&doc)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

func newObject(doc *yaml.Node) (Object, error) {
	var head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   struct{ Name, Namespace string }
	}
	if err := doc.Decode(&head); err != nil {
		return Object{}, err
	}
	if head.APIVersion == "" || head.Kind == "" || head.Metadata.Name == "" {
		return Object{}, fmt.Errorf("document on line %d lacks apiVersion, kind or metadata.name", doc.Line)
	}
	text, err := yaml.Marshal(doc)
	return Object{head.APIVersion, head.Kind, head.Metadata.Name, head.Metadata.Namespace, text}, err
}
