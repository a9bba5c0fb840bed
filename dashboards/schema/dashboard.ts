// What the dashboards may contain, put together from Grafana's own types. `make-schema` turns it into a JSON schema.
import * as core from '@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen';
import * as ofHeatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import * as ofStat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import * as ofTable from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import * as ofTimeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Grafana has no package with the query of its Prometheus data source alone.
interface PrometheusQuery {
  refId: string;
  expr: string;
  datasource?: core.DataSourceRef;
  instant?: boolean;
  range?: boolean;
  exemplar?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  legendFormat?: string;
}

// Grafana's types leave what depends on the kind of panel open.
interface PanelOf<Type extends string, Options, Custom>
  extends Omit<core.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Type;
  options: Options;
  fieldConfig: Omit<core.FieldConfigSource, 'defaults'> & {
    defaults: Omit<core.FieldConfig, 'custom'> & { custom?: Partial<Custom> };
  };
  targets: PrometheusQuery[];
}

export interface dashboard extends Omit<core.Dashboard, 'panels'> {
  panels: unknown[];
}
export interface row extends core.RowPanel {}
export interface heatmap extends PanelOf<'heatmap', ofHeatmap.Options, ofHeatmap.FieldConfig> {}
export interface stat extends PanelOf<'stat', ofStat.Options, {}> {}
export interface table extends PanelOf<'table', ofTable.Options, ofTable.FieldConfig> {}
export interface timeseries extends PanelOf<'timeseries', ofTimeseries.Options, ofTimeseries.FieldConfig> {}
