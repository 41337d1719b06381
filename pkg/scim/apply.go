package scim

import (
	"maps"
	"slices"
)

// Written has the attributes that a request writes, by [AttributePath.String] without a Sub.
type Written map[string]bool

// Apply returns the resource after the operations, and which attributes they write. The resource
// itself is not changed; on an error nothing is applied.
func (p *Patch) Apply(resource Object) (Object, Written, error) {
	if p.id != "" && p.id != resource.text("id") {
		return nil, nil, Errorf(Mutability, "id is readOnly: the resource's is %s", quote(resource.text("id")))
	}
	after, _ := clone(resource).(Object)
	written := Written{}
	last := map[string]operation{}
	work := 0
	for _, op := range p.operations {
		if work += op.work(after); work > maxPatchWork {
			return nil, nil, StatusError(413, "the operations of a PATCH may go through %d bytes of values in all: send the rest in further requests", maxPatchWork)
		}
		if err := op.apply(after); err != nil {
			return nil, nil, err
		}
		last[AttributePath{op.path.Extension, op.path.Attribute, nil}.String()] = op
	}
	for name, op := range last {
		written[name] = true
		if list, ok := after.at(op.path.AttributePath).(List); ok {
			after.put(op.path.AttributePath, op.path.Attribute.normalize(list, true))
		}
	}
	return after, written, nil
}

// work is how many bytes of values the operation goes through: all that a multi-valued attribute has, and again
// for each comparison of the path's filter.
func (op operation) work(resource Object) int {
	if !op.path.Attribute.MultiValued {
		return 0
	}
	return (1 + op.path.comparisons) * len(appendValue(nil, resource.at(op.path.AttributePath)))
}

func (op operation) apply(resource Object) error {
	a, path := op.path.Attribute, op.path.AttributePath
	switch {
	case a.MultiValued:
		list, err := op.list(listOf(resource.at(path)))
		if err != nil {
			return err
		}
		if list = a.normalize(list, false); len(list) > a.maxValues {
			return a.tooMany()
		}
		resource.put(path, list)
	case path.Sub == nil:
		resource.put(path, op.assigned())
	default:
		object, _ := resource.at(path).(Object)
		if object == nil {
			object = Object{}
		}
		setSub(object, path.Sub, op.assigned())
		resource.put(path, object)
	}
	return nil
}

// assigned returns the target's new value: nil for a removal.
func (op operation) assigned() any {
	if op.op == opRemove {
		return nil
	}
	return clone(op.value)
}

func setSub(object Object, sub *Attribute, value any) {
	if value == nil {
		delete(object, sub.Name)
	} else {
		object[sub.Name] = value
	}
}

// list applies the operation to a multi-valued attribute.
func (op operation) list(list List) (List, error) {
	whole := op.path.Filter == nil && op.path.Sub == nil
	switch {
	case op.op == opRemove:
		return op.removed(list), nil
	case whole && op.op == opReplace:
		return listOf(clone(op.value)), nil
	case whole:
		values := listOf(clone(op.value))
		if slices.ContainsFunc(values, isPrimary) {
			clearPrimary(list)
		}
		return append(list, values...), nil
	case op.value == nil && op.path.Sub == nil:
		return op.removed(list), nil
	}
	return op.selected(list)
}

// removed removes the selected values: all, those that match the filter or, as Entra asks with a
// value and no filter, those that are equal to a given one. With a Sub it removes that from each.
func (op operation) removed(list List) List {
	meant := func(any) bool { return true }
	if given := listOf(op.value); len(given) > 0 && op.path.Filter == nil && op.path.Sub == nil {
		meant = op.path.Attribute.among(given)
	}
	return slices.DeleteFunc(list, func(element any) bool {
		if !op.selects(element) || !meant(element) {
			return false
		}
		if object, ok := element.(Object); ok && op.path.Sub != nil {
			delete(object, op.path.Sub.Name)
			return false
		}
		return true
	})
}

// among returns a function that reports whether a value is one of those given. A given value
// without a type matches any type.
func (a *Attribute) among(given List) func(any) bool {
	keys := make(map[string]bool, len(given))
	for _, each := range given {
		key, _ := a.identity(each)
		keys[key] = true
	}
	return func(element any) bool {
		key, _ := a.identity(element)
		object, ok := element.(Object)
		if keys[key] || !ok || a.sub("value") == nil {
			return keys[key]
		}
		key, _ = a.identity(Object{"value": object["value"]})
		return keys[key]
	}
}

func (op operation) selects(element any) bool {
	return op.path.Filter == nil || op.path.Filter.match(element)
}

// selected adds to or replaces the matching values, or one Sub of each.
func (op operation) selected(list List) (List, error) {
	primary := isPrimary(op.value) || op.path.Sub != nil && op.path.Sub.Name == "primary" && op.value == true
	matched := false
	for i, element := range list {
		object, ok := element.(Object)
		switch {
		case !op.selects(element):
			if primary {
				clearPrimary(list[i : i+1])
			}
			continue
		case ok && op.path.Sub != nil:
			setSub(object, op.path.Sub, op.value)
		case ok && op.op == opAdd:
			value, _ := clone(op.value).(Object)
			maps.Copy(object, value)
		default:
			list[i] = clone(op.value)
		}
		matched = true
	}
	if matched || op.value == nil {
		return list, nil
	}
	return op.created(list)
}

// created appends the value that the filter asks for and the list lacks. RFC 7644, section
// 3.5.2.3, has noTarget; Entra counts on the creation (see the template's conditions).
func (op operation) created(list List) (List, error) {
	element := Object{}
	if !op.template(op.path.Filter, element) {
		return nil, Errorf(NoTarget, "no value of %s matches the path's filter", op.path.Attribute.Name)
	}
	if op.path.Sub != nil {
		element[op.path.Sub.Name] = op.value
	} else if value, ok := clone(op.value).(Object); ok {
		maps.Copy(element, value)
	}
	if primary := op.path.Attribute.sub("primary"); primary != nil && element["primary"] == nil && len(list) == 0 && op.path.Filter != nil {
		element["primary"] = true
	}
	if isPrimary(element) {
		clearPrimary(list)
	}
	return append(list, element), nil
}

// template fills in what a filter asks a new value to have. An add needs a filter of nothing but
// eq, joined by and. A replace needs one eq on type with a canonical value, or primary eq true,
// and a sub-attribute after the filter.
func (op operation) template(f Filter, element Object) bool {
	switch f := f.(type) {
	case nil:
		return op.path.Sub != nil
	case And:
		for _, each := range f {
			if op.op != opAdd || !op.template(each, element) {
				return false
			}
		}
		return true
	case Compare:
		if f.Op != Equal || f.Path.Sub == nil {
			return false
		}
		value, known := f.Value, f.Path.Sub.Name == "primary" && f.Value == true
		if s, ok := value.(string); ok && f.Path.Sub.Name == "type" {
			if s, known = f.Path.Sub.canonical(s); known {
				value = s
			}
		}
		if op.op == opReplace && (op.path.Sub == nil || !known) {
			return false
		}
		if value != nil && value != "" { // those are no values: RFC 7643, section 2.5
			element[f.Path.Sub.Name] = value
		}
		return true
	}
	return false
}

func isPrimary(element any) bool {
	object, _ := element.(Object)
	return object["primary"] == true
}

func clearPrimary(list List) {
	for _, element := range list {
		if isPrimary(element) {
			element.(Object)["primary"] = false //nolint:forcetypeassert // isPrimary says so
		}
	}
}
