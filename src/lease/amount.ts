// In: a decimal as somebody wrote it. Out: the whole number of millionths that it is, or nothing. What two
// readers could take for two numbers (a sign, an exponent, a leading zero, a seventh digit) is no amount. Pure.

const plain = /^(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,6}))?$/

/** Digits after the point that an amount may have. */
const scale = 6

/** `250.00` in millionths: at most 12 digits before the point and 6 after. Undefined: it is no amount. */
export function parseAmount(text: string): bigint | undefined {
  const [, whole, fraction = ''] = plain.exec(text) ?? []
  return whole === undefined ? undefined : BigInt(whole + fraction.padEnd(scale, '0'))
}

/** Whole units for whoever cannot count in millionths; `up`: a part of one counts as one. */
export function wholeUnits(millionths: bigint, up = false): bigint {
  return (millionths + (up ? 999_999n : 0n)) / 1_000_000n
}

/** Millionths as the shortest decimal: `250`, `0.5`. */
export function amountText(millionths: bigint): string {
  const digits = String(millionths).padStart(scale + 1, '0')
  const fraction = digits.slice(-scale).replace(/0+$/, '')
  const whole = digits.slice(0, -scale)
  return fraction === '' ? whole : `${whole}.${fraction}`
}
