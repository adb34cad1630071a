/**
 * Transactions of containerd's databases for each call: its own metadata and the snapshotter's are two; a prepared snapshot gets its name
 * in one of its own before (`core/metadata/snapshot.go`, createSnapshot). Each is two fdatasync.
 */
const transactions = { prepare: 3, commit: 2, remove: 2, label: 1, write: 2, claim: 2, record: 1, lease: 1 } as const;

/** Counts what is asked of containerd: its transactions decide how long injection takes. */
export class Meter {
  calls = 0;
  transactions = 0;

  count(call: keyof typeof transactions): void {
    this.calls++;
    this.transactions += transactions[call];
  }
}
