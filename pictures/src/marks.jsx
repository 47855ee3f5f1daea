// What is marked on a plot beside its lines: exemplars, where they were measured, and annotations, by a line.
import { EventsCanvas } from '@grafana/ui';
import { useCallback, useEffect, useLayoutEffect, useRef } from 'react';

// A mark is put with its upper left corner where its middle belongs.
const CENTRED = { display: 'block', transform: 'translate(-50%, -50%)' };

/** The plot, once it is made; what is drawn on it is drawn again when `marks` change. */
function usePlot(config, marks) {
  const plot = useRef(null);
  useLayoutEffect(() => config.addHook('init', (made) => void (plot.current = made)), [config]);
  // Markers are placed when the plot is drawn, but not the first time: they are not there yet.
  useEffect(() => plot.current?.redraw(), [marks]);
  return plot;
}

export function Exemplars({ config, exemplars, hasJaeger, theme }) {
  const plot = usePlot(config, exemplars);
  const place = useCallback(
    (_, index) => {
      const { scales, valToPos } = plot.current ?? {};
      const name = Object.keys(scales ?? {}).find((key) => key !== 'x' && key !== 'y');
      const { time, value } = exemplars[index] ?? {};
      if (!name || !time) return undefined;
      const { min, max } = scales[name];
      // Those beyond the axis are drawn at its edge.
      return { x: valToPos(time, 'x'), y: valToPos(Math.min(max, Math.max(min, value)), name) };
    },
    [exemplars],
  );
  const marker = useCallback(
    (_, index) => {
      const { trace } = exemplars[index] ?? {};
      const diamond = (
        <svg height={8} style={CENTRED} viewBox="0 0 10 10" width={8}>
          <path d="M5 0 10 5 5 10 0 5Z" fill={theme.colors.primary.main} />
        </svg>
      );
      if (!trace || !hasJaeger) return diamond;
      return (
        <a href={`/trace/${trace}`} title={`Trace ${trace}`}>
          {diamond}
        </a>
      );
    },
    [exemplars, hasJaeger, theme],
  );
  return (
    <EventsCanvas
      config={config}
      events={[exemplars]}
      id="exemplars"
      mapEventToXYCoords={place}
      renderEventMarker={marker}
    />
  );
}

export function Annotations({ config, annotations, theme }) {
  const plot = usePlot(config, annotations);
  const drawn = useRef(annotations);
  drawn.current = annotations;
  const colorOf = ({ color }) => theme.visualization.getColorByName(color);
  useLayoutEffect(() => config.addHook('draw', (made) => drawLines(made, drawn.current, colorOf)), [config]);
  const place = useCallback(
    (_, index) => {
      const { bbox, valToPos } = plot.current ?? {};
      if (!bbox || !annotations[index]) return undefined;
      return { x: valToPos(annotations[index].time, 'x'), y: bbox.height / devicePixelRatio };
    },
    [annotations],
  );
  const marker = useCallback(
    (_, index) => {
      const event = annotations[index];
      if (!event) return null;
      const triangle = { borderBottom: `8px solid ${colorOf(event)}`, borderInline: '5px solid transparent' };
      return <div style={{ ...CENTRED, width: 0, ...triangle }} title={event.title} />;
    },
    [annotations, theme],
  );
  return (
    <EventsCanvas
      config={config}
      events={[annotations]}
      id="annotations"
      mapEventToXYCoords={place}
      renderEventMarker={marker}
    />
  );
}

function drawLines({ ctx, bbox, valToPos }, annotations, colorOf) {
  ctx.save();
  ctx.setLineDash([5 * devicePixelRatio, 5 * devicePixelRatio]);
  ctx.lineWidth = devicePixelRatio;
  for (const event of annotations) {
    const x = Math.round(valToPos(event.time, 'x', true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = colorOf(event);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
