// In: when something ends and what time it is. Out: how long that is in words and as a share. Pure.

/**
 * `9 min 05 s`, `2 h 14 min`, `3 d 4 h`, `over`.
 * @param {number} seconds Left; negative once it is over.
 */
export function inWords(seconds) {
  if (!(seconds > 0)) return 'over'
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
  const hours = Math.floor(minutes / 60)
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/**
 * Share that is left, 0 to 1; what makes no sense is 0.
 * @param {{ from: number, to: number, now: number }} times Seconds since 1970.
 */
export function shareLeft({ from, to, now }) {
  const share = (to - now) / (to - from)
  return share > 0 ? Math.min(1, share) : 0
}

/**
 * `calm`, `soon` in the last quarter, `last` in the last minute, `over`.
 * @param {{ from: number, to: number, now: number }} times
 */
export function urgency(times) {
  const left = times.to - times.now
  if (!(left > 0)) return 'over'
  if (left <= 60) return 'last'
  return shareLeft(times) <= 0.25 ? 'soon' : 'calm'
}

/**
 * What a screen reader is told, and when: at five minutes, one, and the end. Undefined in between.
 * @param {number} seconds
 */
export function announced(seconds) {
  if (!(seconds > 0)) return 'Time is over.'
  if (seconds <= 60) return 'Less than a minute is left.'
  return seconds <= 300 ? 'Less than five minutes are left.' : undefined
}

/**
 * `just now`, `4 min ago`.
 * @param {number} at @param {number} now
 */
export function ago(at, now) {
  const seconds = Math.max(0, Math.floor(now - at))
  if (seconds < 5) return 'just now'
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86_400)} d ago`
}
