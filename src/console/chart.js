// A line chart by uPlot. In: a title, names of lines, columns (seconds first). Out: a canvas, and the newest values
// as text for those who do not see it. Colours are the page's own.
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'

const height = 120
/** Seconds that a chart shows at least. */
const shortest = 60

/** @param {{ title: string, names: string[], columns: number[][], unit?: string }} props */
export function Chart({ title, names, columns, unit = '' }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null))
  const plot = useRef(/** @type {uPlot | undefined} */ (undefined))
  const theme = useTheme()
  useEffect(() => {
    const { current } = box
    if (current === null) return undefined
    const made = new uPlot(optionsOf(current, names), /** @type {any} */ (columns), current)
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: current.clientWidth, height }))
    observer.observe(current)
    return () => {
      observer.disconnect()
      made.destroy()
    }
  }, [theme, names.join()])
  useEffect(() => plot.current?.setData(/** @type {any} */ (columns)), [columns])
  const last = names.map((name, at) => `${name} ${columns[at + 1]?.at(-1) ?? 0}${unit}`)
  return html`<figure class="chart">
    <figcaption>${title} <span class="legend">${names.map((name, at) => html`<span key=${name} class=${`key line${at}`}>${name}</span>`)}</span></figcaption>
    <div ref=${box} role="img" aria-label=${`${title}: ${last.join(', ')}`}></div>
  </figure>`
}

/** Changes when the colours do. */
function useTheme() {
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    const next = () => setTurn((old) => old + 1)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', next)
    addEventListener('themechange', next)
    return () => {
      dark.removeEventListener('change', next)
      removeEventListener('themechange', next)
    }
  }, [])
  return turn
}

/** Times of day, UTC as in the records. @param {uPlot} _ @param {number[]} ticks */
function clock(_, ticks) {
  return ticks.map((tick) => new Date(tick * 1000).toISOString().slice(11, 19))
}

/** That of its key in the legend. @param {HTMLElement} box @param {number} at */
function lineColour(box, at) {
  const key = box.parentElement?.querySelectorAll('.key')[at]
  return key === undefined ? 'currentColor' : getComputedStyle(key, '::before').backgroundColor
}

/** @param {HTMLElement} box @param {string[]} names @returns {uPlot.Options} */
function optionsOf(box, names) {
  const { color: quiet } = getComputedStyle(box)
  const axis = {
    stroke: quiet,
    grid: { stroke: `color-mix(in srgb, ${quiet} 25%, transparent)`, width: 1 },
    ticks: { show: false },
    font: '11px system-ui',
  }
  return {
    width: Math.max(100, box.clientWidth),
    height,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, min, max) => [Math.min(min, max - shortest), max] },
      y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      { ...axis, values: clock, space: 80, size: 28 },
      { ...axis, size: 44, space: 28 },
    ],
    series: [
      {},
      ...names.map((label, at) => ({
        label,
        stroke: lineColour(box, at),
        width: 2,
        points: { show: false },
      })),
    ],
  }
}
