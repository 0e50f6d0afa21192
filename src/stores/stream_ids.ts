// In: two ids of a Redis stream. Out: which of them came first. It never takes one for a number: each half can
// have 64 bits.

/** Order of two stream ids, `milliseconds-sequence`, both up to 64 bits. */
export function compareIds(a: string, b: string): number {
  const [aTime = '', aSequence = ''] = a.split('-')
  const [bTime = '', bSequence = ''] = b.split('-')
  // Decimal without leading zeros: a longer one is larger.
  const parts = [
    [aTime, bTime],
    [aSequence, bSequence],
  ] as const
  for (const [x, y] of parts) {
    if (x !== y) return x.length - y.length || (x < y ? -1 : 1)
  }
  return 0
}
