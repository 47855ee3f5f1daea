// What a plot tells of the point below the mouse; dragging across a plot chooses a range.
import { dateTimeFormat } from '@grafana/data';
import {
  TooltipPlugin2,
  VizTooltipContent,
  VizTooltipHeader,
  VizTooltipWrapper,
  getFieldDisplayItems,
  usePanelContext,
} from '@grafana/ui';

// Grafana's names for these are constants of TypeScript, which its package does not hold.
const HOVER_ONE = 0;
const HOVER_ALL = 1;

export function Tooltip({ config, frame, panel, timeZone, onZoom }) {
  const { sync, eventsScope } = usePanelContext();
  const { mode = 'single', sort = 'none', hideZeros } = panel.options.tooltip ?? {};
  const [time, ...fields] = frame.fields;
  const items = (indexes, series) =>
    getFieldDisplayItems(frame.fields, time, indexes, series, mode, sort, undefined, hideZeros);
  const render = (plot, indexes, series, isPinned) => (
    <VizTooltipWrapper>
      <VizTooltipHeader
        isPinned={isPinned}
        item={{ label: '', value: dateTimeFormat(time.values[indexes[0]], { timeZone }) }}
      />
      <VizTooltipContent isPinned={isPinned} items={items(indexes, series)} />
    </VizTooltipWrapper>
  );
  if (mode === 'none' || !fields.length) return null;
  return (
    <TooltipPlugin2
      clientZoom
      config={config}
      hoverMode={mode === 'single' ? HOVER_ONE : HOVER_ALL}
      queryZoom={({ from, to }) => onZoom(from, to)}
      render={render}
      syncMode={sync?.()}
      syncScope={eventsScope}
    />
  );
}
