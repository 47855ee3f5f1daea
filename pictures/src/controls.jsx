// What a dashboard is controlled with: its range, how often it is asked anew, its dropdowns and links.
import { Combobox, Input, LinkButton, MultiCombobox, RefreshPicker, TimeRangePicker } from '@grafana/ui';
import { useState } from 'react';

import { addressOf } from './context.js';
import { hasLabel, isShown } from './dashboard.jsx';
import { forGrafana } from './time.js';
import { LISTED } from './variables.js';

const ALL = '$__all';
const BAR = { display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: 8, marginBottom: 12 };

/** `go` changes the address: to another path, or to other parameters of this one. */
export function Controls({ dashboard, dashboards, context, place, go, refresh }) {
  return (
    <>
      <div style={{ ...BAR, justifyContent: 'space-between' }}>
        <h3 style={{ margin: 0 }}>{dashboard.title}</h3>
        <div style={{ display: 'flex', gap: 8 }}>
          <Range context={context} go={go} />
          <RefreshPicker
            onIntervalChanged={(interval) => go({ refresh: interval || undefined })}
            onRefresh={refresh}
            value={place.query.get('refresh') ?? ''}
          />
        </div>
      </div>
      <div style={BAR}>
        {Object.values(context.variables)
          .filter((variable) => variable.type !== 'datasource' && isShown(variable))
          .map((variable) => (
            <Variable key={variable.name} variable={variable} go={go} />
          ))}
        <span style={{ flex: 1 }} />
        {linksOf(dashboard, dashboards, context).map(({ title, icon, href, target }) => (
          <LinkButton
            fill="outline"
            href={href}
            icon={icon}
            key={href}
            size="sm"
            target={target}
            variant="secondary"
          >
            {title}
          </LinkButton>
        ))}
      </div>
    </>
  );
}

function Range({ context: { range, raw, timeZone }, go }) {
  const span = range.to - range.from;
  const move = (by) => go({ from: range.from + by, to: range.to + by });
  return (
    <TimeRangePicker
      onChange={({ raw: { from, to } }) => go({ from: inAddress(from), to: inAddress(to) })}
      onChangeTimeZone={() => {}}
      onMoveBackward={() => move(-span / 2)}
      onMoveForward={() => move(span / 2)}
      onZoom={() => go({ from: range.from - span / 2, to: range.to + span / 2 })}
      timeZone={timeZone}
      value={forGrafana(range, rawForGrafana(raw))}
    />
  );
}

const inAddress = (time) => (typeof time === 'string' ? time : time.valueOf());

/** Moments are numbers in an address; the picker wants them as such, and the others as they are. */
function rawForGrafana({ from, to }) {
  const isMoment = (text) => /^\d+$/.test(text);
  return isMoment(from) || isMoment(to) ? undefined : { from, to };
}

function Variable({ variable, go }) {
  const Chosen = variable.multi ? Several : One;
  const Kind = LISTED.includes(variable.type) ? Chosen : Text;
  const id = `var-${variable.name}`;
  return (
    <span style={{ display: 'flex', alignItems: 'center', gap: 6 }}>
      {hasLabel(variable) && (
        <label htmlFor={id} style={{ fontWeight: 500, fontSize: 12 }}>
          {variable.label || variable.name}
        </label>
      )}
      <Kind choose={(values) => go({ [id]: values })} id={id} variable={variable} />
    </span>
  );
}

const optionsOf = ({ options, includeAll, all, values }) => {
  const listed = options.map(({ text, value }) => ({ label: text, value }));
  const missing = all ? [] : values.filter((value) => !options.some((option) => option.value === value));
  return [
    ...(includeAll ? [{ label: 'All', value: ALL }] : []),
    ...listed,
    ...missing.map((value) => ({ label: value, value })),
  ];
};

function One({ variable, id, choose }) {
  return (
    <Combobox
      id={id}
      maxWidth={40}
      minWidth={10}
      onChange={({ value }) => choose(value)}
      options={optionsOf(variable)}
      value={variable.all ? ALL : (variable.values[0] ?? null)}
      width="auto"
    />
  );
}

function Several({ variable, id, choose }) {
  const chosen = variable.all ? [ALL] : variable.values;
  const change = (picked) => {
    const values = picked.map(({ value }) => value);
    // Who picks "All" drops the others, and who picks another drops "All"; none at all are all.
    const isAll = !values.length || (values.includes(ALL) && !variable.all);
    choose(isAll ? ALL : values.filter((value) => value !== ALL));
  };
  return (
    <MultiCombobox
      id={id}
      maxWidth={40}
      minWidth={14}
      onChange={change}
      options={optionsOf(variable)}
      value={chosen}
      width="auto"
    />
  );
}

function Text({ variable, id, choose }) {
  const [text, setText] = useState(variable.text);
  return (
    <Input
      id={id}
      onBlur={() => text !== variable.text && choose(text)}
      onChange={({ currentTarget }) => setText(currentTarget.value)}
      onKeyDown={({ key }) => key === 'Enter' && choose(text)}
      value={text}
      width={14}
    />
  );
}

/** The dashboard's links, those by tag as one for each dashboard that has it. */
function linksOf(dashboard, dashboards, context) {
  const tagged = ({ tags }) =>
    dashboards.filter((other) => other.uid !== dashboard.uid && tags.every((tag) => other.tags.includes(tag)));
  const flat = (link) =>
    link.type === 'dashboards'
      ? tagged(link).map(({ uid, title }) => ({ ...link, title, url: `/d/${uid}` }))
      : [link];
  return (dashboard.links ?? []).flatMap(flat).map((link) => ({
    title: context.replace(link.title),
    icon: link.url.startsWith('/d/') ? 'apps' : 'external-link-alt',
    href: withChoices(link, context),
    target: link.targetBlank ? '_blank' : undefined,
  }));
}

function withChoices({ url, keepTime, includeVars }, { raw, variables, replace }) {
  const added = [
    keepTime && String(new URLSearchParams(raw)),
    includeVars && addressOf(variables),
  ].filter(Boolean);
  const address = replace(url, {}, 'uriencode');
  return added.length ? `${address}${address.includes('?') ? '&' : '?'}${added.join('&')}` : address;
}
