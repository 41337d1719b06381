package validate

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cnpgCluster is the part of CloudNativePG's resource that this repository uses, with its field names and types
// (postgresql.cnpg.io_clusters.yaml of 1.25). Its module is not to be had everywhere: decoding is strict, so
// that a field from outside this part is looked up before it is added here.
type cnpgCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Instances int `json:"instances"`
		Bootstrap struct {
			InitDB struct {
				Database      string `json:"database"`
				Owner         string `json:"owner"`
				Encoding      string `json:"encoding"`
				LocaleCollate string `json:"localeCollate"`
				LocaleCType   string `json:"localeCType"`
			} `json:"initdb"`
		} `json:"bootstrap"`
		PostgreSQL struct {
			Synchronous struct {
				Method         string `json:"method"`
				Number         int    `json:"number"`
				DataDurability string `json:"dataDurability"`
			} `json:"synchronous"`
			Parameters map[string]string `json:"parameters"`
		} `json:"postgresql"`
		Affinity struct {
			EnablePodAntiAffinity bool   `json:"enablePodAntiAffinity"`
			PodAntiAffinityType   string `json:"podAntiAffinityType"`
			TopologyKey           string `json:"topologyKey"`
		} `json:"affinity"`
		PrimaryUpdateStrategy string                      `json:"primaryUpdateStrategy"`
		Resources             corev1.ResourceRequirements `json:"resources"`
		Storage               cnpgStorage                 `json:"storage"`
		WALStorage            cnpgStorage                 `json:"walStorage"`
	} `json:"spec"`
}

type cnpgStorage struct {
	Size string `json:"size"`
}
