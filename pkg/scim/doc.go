// Package scim holds the rules of SCIM 2.0 (RFC 7643, 7644, 9865) with no I/O: the schemas that
// are published, the filter and path language, the reading of bodies, PATCH, projection and the
// mapping between a product user and a SCIM user.
//
// A resource is an [Object]. [ResourceType.Read] makes one from a body, [Profile.Resource] from a
// stored user. [Patch.Apply] changes a copy of one. [Create], [Profile.Replace] and
// [Profile.Patch] turn the result into a [Change], which the service's one write path carries out.
// A group's members are never read to change them: [ReadGroup] and [PatchGroup] answer with a
// [user.GroupPatch], the members to add and to remove.
//
// Everything that a client's bytes can fill is bounded before it is walked. Every error that the
// package returns is an [Error].
package scim
