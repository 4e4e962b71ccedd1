// SPDX-License-Identifier: Apache-2.0

// Command leasecontender stands for a Lease as any Go manager does, with client-go's leaderelection, and
// prints what it believes, a line each, on stdout:
//
//	leader IDENTITY   the holder that it observes has changed
//	leading           it leads from now on
//	stopped           it leads no longer
//
// It ends when it loses the Lease (code 1, as Go managers do), and on SIGTERM or SIGINT, when it releases
// the Lease first (code 0).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig file")
	namespace := flag.String("namespace", "aibrix-system", "namespace of the Lease")
	name := flag.String("lease", "", "name of the Lease")
	identity := flag.String("identity", "", "the holder's name")
	duration := flag.Duration("lease-duration", 15*time.Second, "how long others wait for a renewal")
	deadline := flag.Duration("renew-deadline", 10*time.Second, "when to give up renewing")
	retry := flag.Duration("retry-period", 2*time.Second, "between two attempts")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fail("read the kubeconfig", err)
	}
	config.Timeout = *deadline / 2 // as controller-runtime sets it
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fail("make a client", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: *namespace, Name: *name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
		},
		LeaseDuration:   *duration,
		RenewDeadline:   *deadline,
		RetryPeriod:     *retry,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { fmt.Println("leading") },
			OnStoppedLeading: func() { fmt.Println("stopped") },
			OnNewLeader:      func(leader string) { fmt.Println("leader", leader) },
		},
	})
	if err != nil {
		fail("set up the election", err)
	}
	elector.Run(ctx)
	if ctx.Err() == nil {
		os.Exit(1)
	}
}

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "leasecontender: %s: %v\n", what, err)
	os.Exit(2)
}
