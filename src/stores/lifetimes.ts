// How long both stores keep what has expired, and how much of it. Nothing comes in; it never decides whether
// something is still valid: expiry itself is compared where it is asked for.

/**
 * Seconds that state is kept beyond its expiry. Machines whose clocks differ by less than this agree on
 * what is still remembered (tokens fail closed at 30 s of skew, long before).
 */
export const keepSeconds = 120

/** The same for used ids, of which there are many: twice the skew at which tokens fail closed. */
export const replayKeepSeconds = 60

/** Used ids that are kept at once: 120 to 150 MB, and 8,000 a second while each lives 125 s. */
export const maxReplayIds = 1_000_000

/** Seconds a lease record outlives the lease, for `lease show` and the console; audit is for later. */
export const leaseKeepSeconds = 30 * 24 * 3600
