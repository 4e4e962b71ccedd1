// Pins the Gateway API, of which `dev/tools.sh` takes the CRDs. It is a module of its own, so that a new version
// changes no program of the control plane; there is no Go code here, so `go mod tidy` would empty it.
module aibrix-controller-manager/dev/gateway-api

go 1.26.0

require sigs.k8s.io/gateway-api v1.5.1
